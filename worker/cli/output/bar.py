"""Bars of characters, for probabilities."""

from __future__ import annotations

from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def bar(fraction: float, width: int, *, unicode: bool = True) -> str:
    """Draw a fraction as a bar, exact to an eighth of a character.

    >>> bar(0.5, 5)
    '██▌  '
    >>> bar(0.5, 5, unicode=False)
    '##   '

    Args:
        fraction: In [0, 1].
        width: Number of characters of the result, and of a full bar.
        unicode: Whether the terminal has block characters.
    """
    if not unicode:
        return ("#" * round(fraction * width)).ljust(width)
    whole, rest = divmod(round(fraction * width * 8), 8)
    return (_EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)


def has_blocks(encoding: str) -> bool:
    """Whether an output's encoding has the characters that `bar` uses."""
    try:
        _EIGHTHS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
