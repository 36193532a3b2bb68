"""Reserving the memory of a fetch before it is used."""

from __future__ import annotations

from collections.abc import Callable

FIRST_BYTES = 1024 * 1024  # that a fetch may use without a reservation

Reserve = Callable[[int], None]


def unlimited(size_bytes: int) -> None:
    """Accept every reservation."""
