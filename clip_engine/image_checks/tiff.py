"""TIFF: limits the size of tiles, and the number of strips and metadata entries.

Only the first directory counts, because only its image is decoded. See TIFF 6.0 and, for BigTIFF,
libtiff's page.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from clip_engine.image_checks.refusal import check_blocks, check_metadata, too_expensive

MOST_TILE_PIXELS = 4_000_000  # if the image itself is smaller
MOST_STRIPS = 400_000  # or tiles

_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323
_STRIP_TAGS = {273, 279, 324, 325}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BYTES |= {16: 8, 17: 8, 18: 8}


class Entry(NamedTuple):
    """An entry of the directory, with `length` values; `value` is set only for a single integer."""

    tag: int
    size_bytes: int
    length: int
    value: int | None


def check_tiff(data: bytes) -> None:
    """Refuse tiles far larger than the image, and too many entries, strips or metadata."""
    values: dict[int, int] = {}
    for number, entry in enumerate(_entries(data)):
        check_blocks("TIFF", number)
        if entry.tag in _STRIP_TAGS:
            if entry.length > MOST_STRIPS:
                raise too_expensive(
                    f"The TIFF has {entry.length} strips or tiles", f"{MOST_STRIPS}"
                )
        else:
            # Not their sum: entries may share their bytes, of which Pillow 13 makes no copies.
            check_metadata("TIFF", min(entry.size_bytes, len(data)))
        if entry.value is not None:
            values[entry.tag] = max(entry.value, values.get(entry.tag, 0))
    image = values.get(_WIDTH, 0) * values.get(_HEIGHT, 0)
    tile = values.get(_TILE_WIDTH, 0) * values.get(_TILE_HEIGHT, 0)
    if tile > max(MOST_TILE_PIXELS, 4 * image):
        raise too_expensive(
            f"The TIFF has tiles of {tile} pixels for an image of {image}",
            f"{MOST_TILE_PIXELS} or four times the image",
        )


def _entries(data: bytes) -> Iterator[Entry]:
    order = "<" if data.startswith(b"II") else ">"
    is_big = 43 in data[2:4]
    try:
        (start,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
        (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, start)
        start += 8 if is_big else 2
        entry = struct.Struct(order + ("HHQ8s" if is_big else "HHI4s"))
        for position in range(start, start + count * entry.size, entry.size):
            tag, kind, length, field = entry.unpack_from(data, position)
            value = None
            if length == 1 and kind in _INTEGERS:
                (value,) = struct.unpack_from(order + _INTEGERS[kind], field)
            yield Entry(tag, length * _BYTES.get(kind, 1), length, value)
    except struct.error:  # truncated, which the decoder will report
        return
