"""Numbers, durations and sizes as people read them."""

from __future__ import annotations

from collections.abc import Iterable

MOST_LISTED = 4
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "message"), counted(2000, "message")
    ('1 message', '2,000 messages')
    """
    return f"{count:,} {noun}" + "s" * (count != 1)


def duration(seconds: float) -> str:
    """A duration in its largest fitting unit, rounded.

    >>> duration(0.4), duration(59.9), duration(61), duration(7000), duration(200_000)
    ('0.4 s', '60 s', '1 min', '1.9 h', '2.3 d')
    """
    for unit, length in _UNITS:
        if seconds >= length:
            count = seconds / length
            return f"{count:.0f} {unit}" if unit == "min" or count >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


def size(count: int) -> str:
    """A number of bytes.

    >>> size(900), size(5_500_000), size(85_899_345_920)
    ('0.9 kB', '5.5 MB', '85.9 GB')
    """
    for unit, length in (("GB", 1e9), ("MB", 1e6)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def listed(items: Iterable[str]) -> str:
    """The first few of some items, and how many more there are.

    >>> listed(["a", "b"]), listed("abcdef")
    ('a, b', 'a, b, c, d and 2 more')
    """
    found = list(items)
    rest = f" and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
    return ", ".join(found[:MOST_LISTED]) + rest
