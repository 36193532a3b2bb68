"""Decodes the body of a Celery message to the task's arguments, with limited memory."""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

from celery.canvas import Signature
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationError

from clip_worker.contract.requests import MAX_MESSAGE_BYTES
from clip_worker.contract.text import read_json
from clip_worker.quoting import quote

JSON = "application/json"
ENCODINGS = ("utf-8", "utf8", "us-ascii", "ascii", "binary")  # all names of UTF-8 JSON

# Labels and URIs are compressed by a factor of less than 16; repeated bytes by 1000.
LEAST_BOUND_BYTES = 4 * 1024 * 1024
MOST_GROWTH = 16


class Arguments(NamedTuple):
    """A task's args and kwargs, and its callbacks, chain and chord."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: dict[str, Any]


class BodyError(ValueError):
    """The body violates Celery's protocol; the message says what is wrong with "its" parts."""


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...

    @property
    def eof(self) -> bool: ...


# By kombu's names; what kombu calls gzip is a zlib stream (kombu/compression.py).
_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"), zlib.decompressobj),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), bz2.BZ2Decompressor),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), lzma.LZMADecompressor),
}


def read_body(
    fields: Mapping[str, Any], headers: Mapping[str, Any], body_encoding: str | None
) -> bytes:
    """Decode and decompress a body to JSON.

    Args:
        fields: kombu's message: `body`, `content-type`, `content-encoding`.
        headers: Celery's headers.
        body_encoding: `"base64"`, or None for plain text.

    Raises:
        BodyError: Its content type is not JSON, or it can't be decoded.
    """
    content_type = fields.get("content-type") or JSON
    if content_type != JSON:
        raise BodyError(
            f"its content type is {quote(content_type)}: send {JSON} (task_serializer='json')"
        )
    encoding = fields.get("content-encoding") or "utf-8"
    if encoding not in ENCODINGS:
        raise BodyError(f"its content encoding is {quote(encoding)}: send utf-8")
    body = _bytes(fields.get("body"), body_encoding)
    compression = headers.get("compression")
    return _decompressed(body, compression) if compression else body


def _bytes(body: object, body_encoding: str | None) -> bytes:
    if not isinstance(body, str):
        kind = "missing" if body is None else f"of type {type(body).__name__}"
        raise BodyError(f"its body is {kind}: send a string")
    if body_encoding is None:
        return body.encode(errors="surrogatepass")
    if body_encoding != "base64":
        raise BodyError(
            f"its property 'body_encoding' is {quote(body_encoding)}: send 'base64', or omit it"
        )
    try:
        return a2b_base64(body, strict_mode=True)
    except ValueError as error:
        raise BodyError(f"its body is not valid base64 ({error})") from error


def _decompressed(body: bytes, compression: object) -> bytes:
    decompressor = _DECOMPRESSORS.get(compression) if isinstance(compression, str) else None
    if decompressor is None:
        raise BodyError(
            f"its header 'compression' is {quote(compression)}: use gzip, bzip2, lzma or none"
        )
    bound = max(LEAST_BOUND_BYTES, min(MOST_GROWTH * len(body), MAX_MESSAGE_BYTES))
    stream = decompressor()
    try:
        plain = stream.decompress(body, bound)
    except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
        raise BodyError(f"its body is not compressed with {compression} ({error})") from error
    if not stream.eof:
        raise BodyError(
            f"its compressed body of {len(body)} bytes is truncated, or grows to more than {bound} "
            "bytes: send it without compression"
        )
    return plain


def _check_type(name: str) -> str:
    if name and name not in Signature.TYPES:
        raise ValueError(f"{quote(name)} is not a kind of signature that Celery has")
    return name


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Signature(_Fields):
    task: Annotated[StrictStr, Field(min_length=1)]
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    subtask_type: Annotated[StrictStr, AfterValidator(_check_type)] | None = None


class _Embed(_Fields):
    callbacks: list[_Signature] | None = None
    errbacks: list[_Signature] | None = None
    chain: list[_Signature] | None = None
    chord: _Signature | None = None


def parse_body(body: bytes) -> Any:
    """Parse a body's JSON.

    Raises:
        BodyError: It is not valid JSON.
    """
    try:
        return read_json(body)
    except ValueError as error:
        raise BodyError(f"its body is not valid JSON ({error})") from error


def arguments_of(value: object) -> Arguments:
    """The arguments in a body of protocol 2.

    Raises:
        BodyError: It is not a list of args, kwargs and embed.
    """
    if not (isinstance(value, list) and len(value) == 3):
        raise BodyError(f"its body is {quote(value)}: send [args, kwargs, embed]")
    args, kwargs, embed = value
    embed = {} if embed is None else embed
    for name, part, kind in (
        ("args", args, list),
        ("kwargs", kwargs, dict),
        ("embed", embed, dict),
    ):
        if not isinstance(part, kind):
            wanted = "a list" if kind is list else "an object"
            raise BodyError(f"its {name} are {quote(part)}: send {wanted}")
    if any(embed.values()):
        _check_embed(embed)
    return Arguments(args, kwargs, embed)


def _check_embed(embed: dict[str, Any]) -> None:
    try:
        _Embed.model_validate(embed)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        raise BodyError(
            f"its {place} is {quote(fault['input'])}: {message[:1].lower()}{message[1:]}"
        ) from error


def write_body(arguments: Sequence[Any]) -> bytes:
    """Encode args, kwargs and embed as a body of protocol 2."""
    return json.dumps(arguments).encode()
