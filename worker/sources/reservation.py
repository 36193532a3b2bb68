"""How a fetch says what memory it needs, before it takes it."""

from __future__ import annotations

from collections.abc import Callable

FIRST_BYTES = 1024 * 1024  # that a fetch may take without reserving them

Reserve = Callable[[int], None]


def unlimited(size_bytes: int) -> None:
    """Reserve without a bound."""
