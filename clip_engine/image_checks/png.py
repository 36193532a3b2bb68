"""PNG: limits the number of chunks, which Pillow reads one by one, and the size of metadata."""

from __future__ import annotations

import struct

from clip_engine.image_checks.refusal import check_blocks, check_metadata

_SIGNATURE_BYTES = 8
_CHUNK = struct.Struct(">I4s")
_OVERHEAD = 12  # bytes of a chunk besides its data: length, type, checksum
_PIXELS = {b"IDAT", b"fdAT"}


def check_png(data: bytes, start: int = 0) -> None:
    """Refuse too many chunks or too much metadata.

    Args:
        data: The file.
        start: Offset of the PNG in it.
    """
    position, chunks, metadata = start + _SIGNATURE_BYTES, 0, 0
    while position + _CHUNK.size <= len(data):
        length, kind = _CHUNK.unpack_from(data, position)
        if kind == b"IEND":
            return
        chunks += 1
        metadata += 0 if kind in _PIXELS else length
        check_blocks("PNG", chunks)
        check_metadata("PNG", min(metadata, len(data)))
        position += _OVERHEAD + length
