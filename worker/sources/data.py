"""Images contained in their URI: `data:image/jpeg;base64,...` (RFC 2397)."""

from __future__ import annotations

import binascii
import io
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from clip_worker.contract.uri import data_start
from clip_worker.contract.uri_errors import bad_uri, too_large
from worker.sources.reservation import Reserve, unlimited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.sources.policy import FetchLimits

_BLANKS = b" \t\r\n\f"
_PIECE_CHARACTERS = 256 * 1024
# Up to 4096 characters or escapes, never cut inside an escape.
_PIECE = re.compile(r"(?:%[0-9A-Fa-f]{2}|.){1,4096}+", re.DOTALL)


class DataSource:
    """Decodes `data:` URIs, base64 or percent-encoded, in pieces, since a payload may be huge.

    Args:
        limits: The size limit applies.
    """

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits

    def fetch(self, uri: str, reserve: Reserve = unlimited) -> bytes:
        """Decode a URI's data.

        Like browsers, it skips blanks inside base64 and adds missing padding.

        Raises:
            InvalidRequestError: `BAD_URI`: no comma, or invalid base64.
            ImageUnavailableError: `FETCH_TOO_LARGE`.
        """
        start, limit = data_start(uri), self._limits.max_bytes
        is_base64 = uri[:start].replace(" ", "").lower().endswith(";base64,")
        most = (len(uri) - start) * 3 // 4 if is_base64 else len(uri) - start
        # An escaped byte takes three characters, so the result has at least this size.
        if most / 3 > limit:
            raise too_large(uri, limit)
        reserve(min(most, limit))
        pieces = _unquoted(uri, start)
        data = io.BytesIO()
        for piece in _decoded(uri, pieces) if is_base64 else pieces:
            data.write(piece)
            if data.tell() > limit:
                raise too_large(uri, limit)
        return data.getvalue()


def _unquoted(uri: str, start: int) -> Iterator[bytes]:
    if uri.find("%", start) < 0:
        for position in range(start, len(uri), _PIECE_CHARACTERS):
            yield uri[position : position + _PIECE_CHARACTERS].encode()
    else:  # in small pieces, because unquoting needs an object of 40 bytes for each escape
        for piece in _PIECE.finditer(uri, start):
            yield unquote_to_bytes(piece[0])


def _decoded(uri: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from _from_base64(pieces)
    except binascii.Error as error:
        raise bad_uri(uri, "contains data that is not valid base64") from error


def _from_base64(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest, is_over = b"", False
    for piece in pieces:
        packed, pad, behind = (rest + piece.translate(None, _BLANKS)).partition(b"=")
        if (is_over and packed) or behind.strip(b"="):
            raise binascii.Error("Data follows the padding.")
        if is_over := is_over or bool(pad):
            yield _whole(packed)
            rest = b""
        else:
            whole = len(packed) // 4 * 4
            yield _whole(packed[:whole])
            rest = packed[whole:]
    yield _whole(rest)


def _whole(packed: bytes) -> bytes:
    return binascii.a2b_base64(packed + b"=" * (-len(packed) % 4), strict_mode=True)
