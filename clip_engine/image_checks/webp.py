"""WebP: limits the number of chunks and the size of metadata."""

from __future__ import annotations

import struct

from clip_engine.image_checks.refusal import check_blocks, check_metadata

_FIRST_CHUNK = 12
_CHUNK = struct.Struct("<4sI")
_PIXELS = {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}


def check_webp(data: bytes) -> None:
    """Refuse too many chunks or too much metadata."""
    position, chunks, metadata = _FIRST_CHUNK, 0, 0
    while position + _CHUNK.size <= len(data):
        kind, length = _CHUNK.unpack_from(data, position)
        chunks += 1
        metadata += 0 if kind in _PIXELS else length
        check_blocks("WebP", chunks)
        check_metadata("WebP", min(metadata, len(data)))
        position += _CHUNK.size + length + length % 2
