"""Converts a Python program's arguments to the contract's types, or rejects them.

Python's own types invite mistakes: a string is a sequence of strings, a set has no order, and a
path names a file on this machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from clip_worker.client.image_file import check_size, read_image
from clip_worker.contract import DEFAULT_SCORE, MAX_LABELS, RequestOptions
from clip_worker.contract.text import LONE_SURROGATE, is_text
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote, shown_uri

Labels: TypeAlias = Iterable[str]
Bytes: TypeAlias = bytes | bytearray | memoryview

_OPTIONS = {*RequestOptions.model_fields, "result_ttl_s", "webhook"}
_LISTS = {"labels": "BAD_LABELS", "templates": "BAD_TEMPLATE"}
_TASK_ID = re.compile(r"[A-Za-z0-9\-_.:@/+=]{1,200}")
_UNORDERED = (set, frozenset)
_BYTES = (bytes, bytearray, memoryview)


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are not None, with labels and templates as lists.

    Raises:
        InvalidRequestError: Labels or templates are a set.
    """
    request = {name: value for name, value in arguments.items() if value is not None}
    for name, code in _LISTS.items():
        if name in request:
            request[name] = listed(request[name], name, code)
    return request


def options_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a request among the parameters of a method, as `locals()` gives them.

    Raises:
        InvalidRequestError: Labels or templates are a set.
    """
    options = given({name: parameters.get(name) for name in _OPTIONS})
    # Most requests have the usual ones, which would make each call slower.
    if options.get("score") == DEFAULT_SCORE:
        del options["score"]
    if options.get("none_of_these") is False:
        del options["none_of_these"]
    return options


def listed(strings: Any, name: str, code: str) -> Any:
    """Convert a tuple, generator or array of strings to a list.

    Other values are returned unchanged; `clip_worker.contract.parse` rejects them, and says why.

    Raises:
        InvalidRequestError: It is a set.
    """
    if isinstance(strings, _UNORDERED):
        raise InvalidRequestError(
            f"{name} is {quote(strings)}, a set, which has no order; pass a list.", code
        )
    if isinstance(strings, (str, Mapping, *_BYTES)):
        return strings
    try:
        items = iter(strings)
    except TypeError:
        return strings
    return [str(item) if isinstance(item, str) else item for item in islice(items, MAX_LABELS + 1)]


def iterated(items: Any, name: str, remedy: str) -> Iterable[Any]:
    """Check that images or requests come as an ordered iterable, and return it.

    Raises:
        InvalidRequestError: It is a single image, a set, or not iterable.
    """
    if isinstance(items, (str, os.PathLike, Mapping, *_BYTES)) or not isinstance(items, Iterable):
        raise InvalidRequestError(f"{name} is {shown(items)}; pass a list, or {remedy}.")
    if isinstance(items, _UNORDERED):
        raise InvalidRequestError(
            f"{name} is {shown(items)}, a set, which has no order; pass a list."
        )
    return items


def uri_of(image: object) -> str:
    """An image's URI as a plain string; its spelling is not checked here.

    Raises:
        InvalidRequestError: `BAD_URI`: it is a path, or the image itself.
    """
    if isinstance(image, str):
        return str(image)
    if isinstance(image, os.PathLike):
        raise InvalidRequestError(
            f"The image is {shown(image)}, a path on this machine; pass client.upload(path), or "
            "path.resolve().as_uri() if the workers can read the same file.",
            "BAD_URI",
        )
    raise InvalidRequestError(
        f"The image is {shown(image)}; pass its URI, or client.upload(data) for the bytes of an "
        "image file.",
        "BAD_URI",
    )


def name_of(what: str, name: object) -> str:
    """Check a queue's name or a task's id, which becomes part of a Redis key, and return it.

    Raises:
        InvalidRequestError: It is not a string, is empty, or is not valid Unicode.
    """
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"{what} is {shown(name)}; pass a string that is not empty.")
    if not is_text(name):
        raise InvalidRequestError(f"{what} is {quote(name)}, which {LONE_SURROGATE}.")
    return name


def check_count(name: str, count: int, most: int) -> None:
    """Check a number of images or messages.

    Raises:
        InvalidRequestError: It is not in 1 to `most`.
    """
    if not 1 <= count <= most:
        raise InvalidRequestError(f"{name} is {count!r}; pass 1 to {most}.")


def task_id_of(task_id: object) -> str:
    """Check an id that a caller has chosen for a task, and return it.

    Raises:
        InvalidRequestError: `BAD_TASK_ID`.
    """
    if not isinstance(task_id, str) or not _TASK_ID.fullmatch(task_id):
        raise InvalidRequestError(
            f"task_id is {shown(task_id)}; pass 1 to 200 letters, digits and characters of "
            "'-_.:@/+='.",
            "BAD_TASK_ID",
        )
    return task_id


def image_bytes(data: Bytes | os.PathLike[str], max_bytes: int) -> bytes:
    """An image file's bytes, read from disk if a path is given.

    Raises:
        InvalidRequestError: `BAD_UPLOAD`: it is neither bytes nor a path.
        ImageUnavailableError: The file can't be read, or there are more bytes.
    """
    if isinstance(data, _BYTES):
        check_size(memoryview(data).nbytes, "The upload", max_bytes)
        return bytes(data)
    if isinstance(data, os.PathLike):
        return read_image(Path(os.fsdecode(data)), max_bytes=max_bytes)
    hint = f"Path({shown_uri(data)}) to upload that file" if isinstance(data, str) else "a Path"
    raise InvalidRequestError(
        f"The upload is {shown(data)}; pass the bytes of an image file, or {hint}.",
        "BAD_UPLOAD",
    )


def shown(value: object) -> str:
    """A value as errors show it: of bytes and arrays only the type or size."""
    if isinstance(value, _BYTES):
        return f"{len(value)} bytes"
    if value is None or isinstance(value, (str, int, float, Path, Sequence, Mapping, *_UNORDERED)):
        return shown_uri(value)
    return f"an object of type {type(value).__name__}"
