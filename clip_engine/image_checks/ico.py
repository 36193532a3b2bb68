"""ICO: limits the images in the file, which may be larger than its directory says."""

from __future__ import annotations

import struct

from clip_engine.errors import ImageError
from clip_engine.image_checks.bmp import dib_size
from clip_engine.image_checks.png import check_png
from clip_engine.image_checks.refusal import too_expensive

MOST_PIXELS = 1024 * 1024  # a directory's limit is 256x256, but some writers exceed it
MOST_IMAGES = 64

_ENTRY_BYTES = 16
_PNG = b"\x89PNG\r\n\x1a\n"


def check_ico(data: bytes) -> None:
    """Refuse too many images, a large one, or a PNG with too many chunks."""
    entries = int.from_bytes(data[4:6], "little")
    offsets = {
        int.from_bytes(data[end - 4 : end], "little")
        for end in range(6 + _ENTRY_BYTES, 6 + _ENTRY_BYTES * (entries + 1), _ENTRY_BYTES)
        if end <= len(data)
    }
    if len(offsets) > MOST_IMAGES:
        raise too_expensive(f"The ICO holds {len(offsets)} images", f"{MOST_IMAGES}")
    for offset in offsets:
        if data.startswith(_PNG, offset):
            check_png(data, offset)
        width, height = _size(data, offset)
        if width * height > MOST_PIXELS:
            raise ImageError(
                f"The ICO holds an image of {width}x{height} pixels; give one with at most "
                f"{MOST_PIXELS} pixels.",
                "TOO_MANY_PIXELS",
            )


def _size(data: bytes, offset: int) -> tuple[int, int]:
    header = data[offset : offset + 26]
    if header.startswith(_PNG):
        return struct.unpack(">II", header[16:24]) if len(header) >= 24 else (0, 0)
    width, height, _compression = dib_size(header) or (0, 0, 0)
    return width, height // 2  # the height includes the mask
