r"""Lone surrogates, such as JSON's `"\ud83d"`: halves of characters, which can't be encoded.

JavaScript produces them by cutting a string in the middle of an emoji, and Python's JSON parser
accepts them. `sys.argv` contains them if an argument is not valid in the locale's encoding.
"""

from __future__ import annotations

import json
import os
from typing import Any

from pydantic_core import from_json

LONE_SURROGATE = "contains a lone surrogate, which is half of a character"


def is_text(value: str) -> bool:
    r"""Whether a string is valid Unicode, without lone surrogates.

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
    """An argument or environment variable as text; None if its bytes are not valid UTF-8.

    Bytes that the locale's encoding can't decode reach Python as lone surrogates. They are decoded
    as UTF-8 instead, which is what they are with `LC_ALL=C` and `PYTHONUTF8=0`.
    """
    if is_text(argument):
        return argument
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        return None


def read_json(data: bytes) -> Any:
    """Parse JSON in UTF-8, whose strings may contain lone surrogates.

    Raises:
        ValueError: It is not valid JSON, or nested too deeply.
    """
    try:
        return from_json(data)
    except ValueError:  # the faster parser rejects lone surrogates
        try:
            return json.loads(data.decode(errors="surrogatepass"))
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
