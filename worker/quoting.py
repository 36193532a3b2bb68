"""How error messages show a value that may be huge or hold secrets."""

from __future__ import annotations

import re

MOST_CHARACTERS = 80

# Between the user's colon and the last @ of the authority, as URL parsers take it. A URL that they
# refuse has its password masked too.
_PASSWORD = re.compile(r"(://[^:@/?#]*:)[^/?#]*(@)")


def quote(value: object) -> str:
    """The value's `repr`, cut in the middle to 80 characters.

    >>> quote("cat.jpg")
    "'cat.jpg'"
    >>> len(quote("x" * 1000))
    80
    """
    text = repr(value)
    if len(text) <= MOST_CHARACTERS:
        return text
    half = (MOST_CHARACTERS - 3) // 2
    return f"{text[: MOST_CHARACTERS - 3 - half]}...{text[-half:]}"


def without_password(url: str) -> str:
    """A URL that may be shown, well formed or not: its password is replaced by stars.

    >>> without_password("redis://:secret@host:6379/0")
    'redis://:***@host:6379/0'
    """
    # Several sentinels are parted by semicolons.
    return ";".join(_PASSWORD.sub(r"\1***\2", part) for part in url.split(";"))
