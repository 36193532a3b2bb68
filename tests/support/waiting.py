"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 180.0  # on a busy machine; it costs nothing where tests pass


def wait_until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Return as soon as a condition holds; fail if it does not within the limit."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)
