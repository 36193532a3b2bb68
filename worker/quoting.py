"""How error messages show a value that may be huge or hold secrets."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

MOST_CHARACTERS = 80


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
    """A URL that may be shown: its password is replaced by stars.

    >>> without_password("redis://:secret@host:6379/0")
    'redis://:***@host:6379/0'
    """
    parts = urlsplit(url)
    if not parts.password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))
