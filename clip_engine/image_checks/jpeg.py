"""JPEG: limits scans, each of which is a pass of libjpeg over the image, and segments.

See ITU-T T.81, Annex B.
"""

from __future__ import annotations

from typing import NamedTuple

from clip_engine.image_checks.refusal import (
    check_blocks,
    check_junk,
    check_metadata,
    too_expensive,
)

MOST_SCANS = 1000
MOST_SCANNED_PIXELS = 20_000_000_000  # scans times pixels, 2.5 s; usual are ten scans

_START_OF_SCAN = 0xDA
_NO_LENGTH = {0x01, *range(0xD0, 0xDA)}
_SEQUENTIAL = {0xC0, 0xC1}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def check_jpeg(data: bytes) -> None:
    """Refuse too many scans, segments, fill bytes or metadata."""
    frame = _check_segments(data)
    if frame.has_one_scan:  # libjpeg ignores any others
        return
    # Within a scan 0xFF is followed by 0, so this counts real markers, and a few in thumbnails.
    scans = data.count(bytes((0xFF, _START_OF_SCAN)))
    if scans > MOST_SCANS:
        raise too_expensive(f"The JPEG has {scans} scans", f"{MOST_SCANS}")
    if scans * frame.pixels > MOST_SCANNED_PIXELS:
        raise too_expensive(
            f"The JPEG has {scans} scans of {frame.pixels} pixels",
            f"{MOST_SCANNED_PIXELS} pixels in all",
        )


class _Frame(NamedTuple):
    """The header of a frame."""

    pixels: int = 0
    components: int = 0
    is_sequential: bool = False
    has_one_scan: bool = False


def _check_segments(data: bytes) -> _Frame:
    """Check the segments up to the first scan, and return the largest frame."""
    position, segments, junk, metadata, frame = 2, 0, 0, 0, _Frame()
    while True:
        marker_at = data.find(b"\xff", position)
        if marker_at < 0 or marker_at + 1 >= len(data):
            check_junk("JPEG", junk + len(data) - position)
            return frame
        junk += marker_at - position
        marker = data[marker_at + 1]
        if marker in (0x00, 0xFF) or marker in _NO_LENGTH:  # escaped, fill byte, restart
            junk += 1
            position = marker_at + (1 if marker == 0xFF else 2)
        elif marker == _START_OF_SCAN:
            is_whole = data[marker_at + 4 : marker_at + 5] == bytes((frame.components,))
            return frame._replace(has_one_scan=is_whole and frame.is_sequential)
        else:
            length = int.from_bytes(data[marker_at + 2 : marker_at + 4], "big")
            if marker in _FRAMES:
                frame = max(frame, _frame(marker, data[marker_at + 5 : marker_at + 10]))
            segments += 1
            metadata += length
            position = marker_at + 2 + max(2, length)
        check_junk("JPEG", junk)
        check_blocks("JPEG", segments)
        check_metadata("JPEG", metadata)


def _frame(marker: int, header: bytes) -> _Frame:
    height, width = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:4], "big")
    components = header[4] if len(header) > 4 else 0
    return _Frame(height * width, components, marker in _SEQUENTIAL)
