"""Polling for what no event reports: the state of other processes, and of Redis."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 180.0  # on a busy machine; it costs nothing where tests pass
PAUSE_S = 0.01


def wait_until(
    condition: Callable[[], object],
    explain: Callable[[], object] = lambda: "the condition never held",
    *,
    limit_s: float = LIMIT_S,
) -> None:
    """Poll until the condition holds; `explain` says what went wrong where it never does."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, explain()
        time.sleep(PAUSE_S)


def is_gone(pid: int) -> bool:
    """Whether a process has ended and was reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
