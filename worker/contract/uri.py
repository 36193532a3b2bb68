"""Checks URIs by their spelling alone, without network or disk.

The client runs this before it sends, the worker again before it fetches.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote_to_bytes

from worker.contract.http_url import HttpUrl
from worker.contract.text import NO_TEXT, is_text
from worker.contract.uri_errors import bad_uri
from worker.errors import InvalidRequestError
from worker.quoting import shown_uri

MAX_URI_CHARS = 8192  # for all but data:, whose bytes are the picture itself
UPLOAD_PREFIX = "redis://uploads/"

# Two characters at least: in C:\cat.jpg the C is a drive.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+):")
_BLANK_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def validate_uri(uri: str) -> str:
    """Check a URI's form and return it without surrounding blanks.

    Whether a worker supports the scheme, and whether the picture exists, only a fetch can tell.

    Raises:
        InvalidRequestError: `BAD_URI`, with a sentence that says what to write instead.
    """
    text = _checked_text(uri)
    scheme = scheme_of(text)
    if scheme == "data":
        data_start(text)
        return text
    _check_spelling(text)
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
        InvalidRequestError: There is none, as in `cat.jpg` or `/data/cat.jpg`.
    """
    if match := _SCHEME.match(uri):
        return match[1].lower()
    example = f"file://{uri}" if uri.startswith("/") else "file:///data/cat.jpg"
    raise InvalidRequestError(
        f"{shown_uri(uri)} is no URI: write {shown_uri(example)} for a file that the worker can "
        "see, https://... for one on the web, or send the bytes with client.upload().",
        "BAD_URI",
    )


def data_start(uri: str) -> int:
    """Where the data begin in RFC 2397's `data:[<mediatype>][;base64],<data>`.

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
    # By spelling, as RFC 3986 5.2.4 has it: what lies on the disk must not decide what '..' means.
    return "/" + os.path.normpath(path).lstrip("/")


def is_upload(uri: str) -> bool:
    """Whether a checked URI names an upload; which one, `upload_digest` tells."""
    return uri.startswith("redis:")


def upload_digest(uri: str) -> str:
    """The SHA-256 that a `redis://uploads/<sha256>` URI names, 64 hex digits in lower case.

    Raises:
        InvalidRequestError: Any other host, path or form.
    """
    digest = uri.removeprefix(UPLOAD_PREFIX)
    if digest == uri or not _SHA256.fullmatch(digest):
        raise bad_uri(
            uri,
            f"is not {UPLOAD_PREFIX}<sha256, 64 hex digits>; use the one client.upload() returned",
        )
    return digest


def _checked_text(uri: str) -> str:
    if not isinstance(uri, str):  # it came out of a JSON message
        raise InvalidRequestError(f"A URI is a string, not {shown_uri(uri)}.", "BAD_URI")
    text = uri.strip()
    if not is_text(text):
        raise bad_uri(text, NO_TEXT)
    return text


def _check_spelling(uri: str) -> None:
    if len(uri) > MAX_URI_CHARS:
        raise bad_uri(uri, f"has {len(uri)} characters; at most {MAX_URI_CHARS} are taken")
    if match := _BLANK_OR_CONTROL.search(uri):
        raise bad_uri(uri, f"holds the character {match[0]!r}; write %{ord(match[0]):02X}")
