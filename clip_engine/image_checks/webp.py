"""WebP: limits the number of chunks and the size of metadata."""

from __future__ import annotations

import struct

from clip_engine.image_checks.refusal import check_blocks, check_metadata

_FIRST_CHUNK = 12
_HEADER_BYTES = 30
_CHUNK = struct.Struct("<4sI")
_PIXELS = {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}


def webp_pixels(data: bytes) -> int:
    """Width times height as the header says; 0 of anything but a WebP.

    Pillow allocates the whole canvas when it opens a WebP, so this must be known before.
    """
    if len(data) < _HEADER_BYTES or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return 0
    kind = data[12:16]
    if kind == b"VP8X":  # two numbers of 24 bits
        sides = int.from_bytes(data[24:27], "little"), int.from_bytes(data[27:30], "little")
    elif kind == b"VP8L":  # two of 14 bits
        bits = int.from_bytes(data[21:25], "little")
        sides = bits & 0x3FFF, bits >> 14 & 0x3FFF
    elif kind == b"VP8 ":  # two of 14 bits, and a scale
        sides = (
            (int.from_bytes(data[26:28], "little") & 0x3FFF) - 1,
            (int.from_bytes(data[28:30], "little") & 0x3FFF) - 1,
        )
    else:
        return 0
    return (sides[0] + 1) * (sides[1] + 1)


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
