"""BMP: limits run-length encoded images, which Pillow decodes in Python at 0.4 µs a pixel."""

from __future__ import annotations

import struct

from clip_engine.errors import ImageError

MOST_ENCODED_PIXELS = 4_000_000  # 1.5 s

_FILE_HEADER_BYTES = 14
_RUN_LENGTH_ENCODINGS = {1, 2}


def check_bmp(data: bytes) -> None:
    """Refuse a large image that is run-length encoded."""
    size = dib_size(data[_FILE_HEADER_BYTES:])
    if size is None:
        return
    width, height, compression = size
    if compression in _RUN_LENGTH_ENCODINGS and width * height > MOST_ENCODED_PIXELS:
        raise ImageError(
            f"The BMP is run-length encoded and has {width}x{height} pixels; save it uncompressed "
            f"or with at most {MOST_ENCODED_PIXELS} pixels.",
            "TOO_MANY_PIXELS",
        )


def dib_size(header: bytes) -> tuple[int, int, int] | None:
    """Width, height and compression; None if the header is one of OS/2 or too short."""
    if len(header) < 20 or int.from_bytes(header[:4], "little") < 40:
        return None
    width, height, _planes, _bits, compression = struct.unpack_from("<iiHHI", header, 4)
    return abs(width), abs(height), compression
