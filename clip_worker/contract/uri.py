"""Validates URIs by their spelling, without network or disk.

The client does this before it sends a task, and the worker again before it fetches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from clip_worker.contract.http_url import HttpUrl
from clip_worker.contract.text import LONE_SURROGATE, is_text
from clip_worker.contract.uri_errors import bad_uri
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import shown_uri, without_secrets

MAX_URI_CHARS = 8192  # except for data:, which contains the image itself
MAX_IMAGE_BYTES = 64 * 1024 * 1024  # by default: CLIP_WORKER_MAX_BYTES, max_upload_bytes
UPLOAD_PREFIX = "redis://uploads/"
MOST_NAME_CHARS = 255  # of an upload's name, each of up to 12 characters when encoded

# Two characters at least: in C:\cat.jpg the C is a drive.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+):")
_BLANK_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PERCENT_ENCODED = ("http", "https", "file", "redis")
_NAME = "[0-9A-Za-z._~%/-]{1,4000}"
_CLAIM = "[0-9A-Za-z_-]{1,64}"
_UPLOAD = re.compile(rf"{UPLOAD_PREFIX}([0-9a-f]{{64}})(?:/{_NAME})?(?:#({_CLAIM}))?")


class Upload(NamedTuple):
    """What a `redis://uploads/<sha256>/<name>#<claim>` URI names; its name is for readers.

    Attributes:
        digest: SHA-256 of the bytes, 64 hex digits in lower case.
        claim: Keeps the upload until a task uses it; empty if the URI has none.
    """

    digest: str
    claim: str


def validate_uri(uri: str) -> str:
    """Validate a URI and return it without surrounding blanks.

    Whether a worker supports the scheme, and whether the image exists, is only known after a fetch.

    Raises:
        InvalidRequestError: `BAD_URI`, with what to write instead.
    """
    text = _checked_text(uri)
    scheme = scheme_of(text)
    if scheme == "data":
        data_start(text)
        return text
    _check_spelling(text, scheme)
    if scheme in ("http", "https"):
        HttpUrl.parse(text)
    elif scheme == "file":
        file_path(text)
    elif scheme == "redis":
        upload_digest(text)
    return text


def scheme_of(uri: str) -> str:
    """The scheme in lower case: `HTTP://x/` -> `http`.

    Raises:
        InvalidRequestError: It has no scheme, as in `cat.jpg` or `/data/cat.jpg`.
    """
    if match := _SCHEME.match(uri):
        return match[1].lower()
    example = f"file://{uri}" if uri.startswith("/") else "file:///data/cat.jpg"
    raise InvalidRequestError(
        f"{shown_uri(uri)} is not a URI; use {shown_uri(example)} for a file that the worker can "
        "read, https://... for an image on the web, or client.upload() to send the bytes.",
        "BAD_URI",
    )


def data_start(uri: str) -> int:
    """The index of the data in RFC 2397's `data:[<mediatype>][;base64],<data>`.

    >>> data_start("data:image/gif;base64,R0lG")
    22

    Raises:
        InvalidRequestError: There is no comma.
    """
    comma = uri.find(",")
    if comma < 0:
        raise bad_uri(uri, "has no comma; write data:image/jpeg;base64,<data>")
    return comma + 1


def file_path(uri: str) -> str:
    """The absolute path that a `file:` URI names (RFC 8089), percent-decoded, without `..`.

    >>> file_path("file://localhost/data/my%20cat.jpg")
    '/data/my cat.jpg'

    Raises:
        InvalidRequestError: Another host, a relative path, a query, a fragment or a NUL.
    """
    rest = uri[len("file:") :]
    if "?" in rest or "#" in rest:
        raise bad_uri(uri, "has a bare '?' or '#'; in a file's name write %3F or %23")
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise bad_uri(uri, "names a host; write file:///path/to/cat.jpg")
        rest = slash + path
    if not rest.startswith("/"):
        raise bad_uri(uri, "has no absolute path; write file:///path/to/cat.jpg")
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise bad_uri(uri, "has a NUL in its path")
    # By spelling, as in RFC 3986 5.2.4: the meaning of '..' must not depend on the disk.
    return "/" + os.path.normpath(path).lstrip("/")


def is_upload(uri: str) -> bool:
    """Whether a validated URI names an upload."""
    return uri.startswith("redis:")


def upload_digest(uri: str) -> str:
    """The SHA-256 that a `redis://uploads/<sha256>/<name>#<claim>` URI names, 64 hex digits.

    The name and the claim may be missing.

    Raises:
        InvalidRequestError: Any other host, path or form.
    """
    if upload := find_upload(uri):
        return upload.digest
    raise bad_uri(
        uri, f"is not {UPLOAD_PREFIX}<sha256, 64 hex digits>; use the one client.upload() returned"
    )


def find_upload(uri: str) -> Upload | None:
    """The upload that a URI names; None if it names none.

    >>> find_upload("redis://uploads/" + 64 * "0" + "#5f3c").claim
    '5f3c'
    """
    match = uri.startswith("redis:") and _UPLOAD.fullmatch(uri)
    return Upload(match[1], match[2] or "") if match else None


def upload_uri(digest: str, claim: str = "", name: str | None = None) -> str:
    """The URI of an upload.

    >>> upload_uri(64 * "0", "5f3c", "cats/my cat.jpg").removeprefix(UPLOAD_PREFIX + 64 * "0")
    '/cats/my%20cat.jpg#5f3c'

    Args:
        digest: SHA-256 of the bytes, 64 hex digits in lower case.
        claim: Keeps the upload until a task uses it.
        name: How readers know it; of a long one the end is kept.
    """
    shown = quote(name[-MOST_NAME_CHARS:], safe="/", errors="replace") if name else ""
    return f"{UPLOAD_PREFIX}{digest}{shown and f'/{shown}'}{claim and f'#{claim}'}"


def stored_uri(uri: str) -> str:
    """An image's URI as stores of embeddings keep it: without secrets, and without a claim."""
    return uri.partition("#")[0] if find_upload(uri) else without_secrets(uri)


def find_uploads(images: Iterable[object]) -> list[Upload]:
    """The uploads among images, which may be anything that a message contains."""
    uris = (image.strip() for image in images if isinstance(image, str))
    return [upload for uri in uris if (upload := find_upload(uri))]


def _checked_text(uri: str) -> str:
    if not isinstance(uri, str):  # from a JSON message
        raise InvalidRequestError(f"The URI is {shown_uri(uri)}; it must be a string.", "BAD_URI")
    text = uri.strip()
    if not is_text(text):
        raise bad_uri(text, LONE_SURROGATE)
    return text


def _check_spelling(uri: str, scheme: str) -> None:
    if len(uri) > MAX_URI_CHARS:
        raise bad_uri(uri, f"has {len(uri)} characters; at most {MAX_URI_CHARS} are allowed")
    if scheme in _PERCENT_ENCODED:
        if match := _BLANK_OR_CONTROL.search(uri):
            raise bad_uri(uri, f"contains the character {match[0]!r}; write %{ord(match[0]):02X}")
    # Object stores decode nothing: s3://pets/my cat.jpg is the object whose key has a blank.
    elif match := _CONTROL.search(uri):
        raise bad_uri(uri, f"contains the character {match[0]!r}; rename the object")
