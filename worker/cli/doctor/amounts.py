"""Amounts as people read them."""

from __future__ import annotations

_STEPS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def shown_bytes(size: float) -> str:
    """A size.

    >>> shown_bytes(1536), shown_bytes(12)
    ('1.5 KiB', '12 bytes')

    Args:
        size: In bytes.
    """
    for step, unit in _STEPS:
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size:.0f} bytes"


def shown_seconds(seconds: float) -> str:
    """A time, in milliseconds if it is short.

    >>> shown_seconds(0.0042), shown_seconds(75)
    ('4.2 ms', '75 s')
    """
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.0f} s"
