"""Converts what a Python program passes to the client into the contract's form, or refuses it.

Python's own types invite mistakes: a string is a sequence of strings, a set has no order, and a
path names a file on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from worker.client.image_file import check_size, read_picture
from worker.contract import MAX_LABELS
from worker.contract.text import NO_TEXT, is_text
from worker.errors import InvalidRequestError
from worker.quoting import quote, shown_uri

Labels: TypeAlias = Iterable[str]
Bytes: TypeAlias = bytes | bytearray | memoryview

_LISTS = {"labels": "BAD_LABELS", "templates": "BAD_TEMPLATE"}
_UNORDERED = (set, frozenset)
_BYTES = (bytes, bytearray, memoryview)


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments that are not None, with their strings in lists.

    Raises:
        InvalidRequestError: Labels or templates are a set.
    """
    question = {name: value for name, value in arguments.items() if value is not None}
    for name, code in _LISTS.items():
        if name in question:
            question[name] = listed(question[name], name, code)
    return question


def listed(strings: Any, name: str, code: str) -> Any:
    """Strings from a list, tuple, generator or array, as a list; what is none of these as it is.

    The contract says of the latter what would be right.

    Raises:
        InvalidRequestError: It is a set.
    """
    if isinstance(strings, _UNORDERED):
        raise InvalidRequestError(
            f"{name} is {quote(strings)}, a set, which has no order; give a list.", code
        )
    if isinstance(strings, (str, Mapping, *_BYTES)):
        return strings
    try:
        items = iter(strings)
    except TypeError:
        return strings
    return [str(item) if isinstance(item, str) else item for item in islice(items, MAX_LABELS + 1)]


def iterated(items: Any, name: str, remedy: str) -> Iterable[Any]:
    """Pictures or requests to be asked for one by one.

    Raises:
        InvalidRequestError: It is a single one of them, a set, or nothing that can be iterated.
    """
    if isinstance(items, (str, os.PathLike, Mapping, *_BYTES)) or not isinstance(items, Iterable):
        raise InvalidRequestError(f"{name} is {shown(items)}; give a list of them, or {remedy}.")
    if isinstance(items, _UNORDERED):
        raise InvalidRequestError(
            f"{name} is {shown(items)}, a set, which has no order; give a list."
        )
    return items


def uri_of(image: object) -> str:
    """A picture's URI, whose spelling is not checked here.

    Raises:
        InvalidRequestError: `BAD_URI`: it is a path, or the picture itself.
    """
    if isinstance(image, str):
        return str(image)
    if isinstance(image, os.PathLike):
        raise InvalidRequestError(
            f"The image is {shown(image)}, a path on this machine; give client.upload(path), or "
            "path.resolve().as_uri() where the workers see the same file.",
            "BAD_URI",
        )
    raise InvalidRequestError(
        f"The image is {shown(image)}; give its URI, which for the bytes of an encoded picture is "
        "client.upload(data).",
        "BAD_URI",
    )


def name_of(what: str, name: object) -> str:
    """A queue's name or a task's id, as a part of keys in Redis.

    Raises:
        InvalidRequestError: It is no text, or none at all.
    """
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"{what} is {shown(name)}; give a string of 1 character or more.")
    if not is_text(name):
        raise InvalidRequestError(f"{what} is {quote(name)}, which {NO_TEXT}.")
    return name


def picture_bytes(data: Bytes | os.PathLike[str]) -> bytes:
    """An encoded picture, from a file if it is a path.

    Raises:
        InvalidRequestError: `BAD_UPLOAD`: it is neither bytes nor a path.
        ImageUnavailableError: The file can't be read, or Redis can't keep as much.
    """
    if isinstance(data, _BYTES):
        check_size(len(data), "The upload")
        return bytes(data)
    if isinstance(data, os.PathLike):
        return read_picture(Path(os.fsdecode(data)))
    hint = f"Path({shown_uri(data)}) to have that file read" if isinstance(data, str) else "a Path"
    raise InvalidRequestError(
        f"The upload is {shown(data)}; give the bytes of an encoded picture, or {hint}.",
        "BAD_UPLOAD",
    )


def shown(value: object) -> str:
    """A value in an error: bytes and pictures only by their type and size."""
    if isinstance(value, _BYTES):
        return f"{len(value)} bytes"
    if value is None or isinstance(value, (str, int, float, Path, Sequence, Mapping, *_UNORDERED)):
        return shown_uri(value)
    return f"an object of type {type(value).__name__}"
