r"""Lone surrogates, such as JSON's `"\ud83d"`: halves of characters, which can't be encoded.

JavaScript makes one when it cuts a string in the middle of an emoji, and Python's JSON reader
accepts it. `sys.argv` contains some if an argument is not text in the locale's encoding.
"""

from __future__ import annotations

import json
import os
from typing import Any

from pydantic_core import from_json

NO_TEXT = "holds a lone surrogate, which is half of a character"


def is_text(value: str) -> bool:
    r"""Whether a string holds whole characters only.

    >>> is_text("grün 🐈"), is_text("\ud83d")
    (True, False)
    """
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def decoded(argument: str) -> str | None:
    """An argument or environment variable as text; None if its bytes are not UTF-8.

    Bytes that the locale's encoding can't decode reach Python as lone surrogates. If they are
    UTF-8, as with `LC_ALL=C` and `PYTHONUTF8=0`, they are read as that.
    """
    if is_text(argument):
        return argument
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        return None


def read_json(data: bytes) -> Any:
    """A JSON value in UTF-8, whose strings may hold lone surrogates.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return from_json(data)
    except ValueError:  # the faster of the two takes a lone surrogate for an error
        try:
            return json.loads(data.decode(errors="surrogatepass"))
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
