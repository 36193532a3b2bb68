"""Pictures that are in their URI: `data:image/jpeg;base64,...` (RFC 2397)."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from worker.sources.refusals import bad_uri, too_large
from worker.sources.uri import split_data_uri

if TYPE_CHECKING:
    from worker.sources.policy import FetchLimits

_BLANKS = b" \t\r\n\f"
# Up to 4096 characters or escapes, never cut inside an escape.
_PIECE = re.compile(r"(?:%[0-9A-Fa-f]{2}|.){1,4096}+", re.DOTALL)


class DataSource:
    """Decodes `data:` URIs, base64 or percent-encoded.

    Args:
        limits: Of these, the cap on bytes.
    """

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits

    def fetch(self, uri: str) -> bytes:
        """Decode a URI's data.

        Blanks inside base64 are skipped and missing padding is supplied, as browsers do.

        Raises:
            InvalidRequestError: `BAD_URI`: no comma, or no base64.
            ImageUnavailableError: `FETCH_TOO_LARGE`, found before anything is decoded.
        """
        header, payload = split_data_uri(uri)
        is_base64 = header.replace(" ", "").lower().endswith(";base64")
        # An escape takes three characters a byte, so this is the least that can come out.
        self._check_size(uri, len(payload) * (3 / 4 if is_base64 else 1) / 3)
        encoded = _unquoted(payload)
        if not is_base64:
            self._check_size(uri, len(encoded))
            return encoded
        packed = encoded.translate(None, _BLANKS).rstrip(b"=")
        self._check_size(uri, len(packed) * 3 // 4)
        return _decoded(uri, packed)

    def _check_size(self, uri: str, size_bytes: float) -> None:
        if size_bytes > self._limits.max_bytes:
            raise too_large(uri, self._limits.max_bytes)


def _unquoted(payload: str) -> bytes:
    if "%" not in payload:
        return payload.encode()
    # In pieces, because unquoting holds an object for each escape: 40 bytes for one.
    return b"".join(unquote_to_bytes(piece[0]) for piece in _PIECE.finditer(payload))


def _decoded(uri: str, packed: bytes) -> bytes:
    try:
        return binascii.a2b_base64(packed + b"=" * (-len(packed) % 4), strict_mode=True)
    except binascii.Error as error:
        raise bad_uri(uri, "holds data that is not base64") from error
