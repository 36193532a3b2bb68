"""Quotes values in error messages."""

from __future__ import annotations

import re

MOST_CHARACTERS = 80


def quoted(value: object) -> str:
    """A value's `repr` on one line, cut to 80 characters.

    >>> quoted("a cat")
    "'a cat'"
    >>> quoted(list(range(100)))
    '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21...'
    """
    text = re.sub(r"\s*\n\s*", " ", repr(value))
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."
