"""Estimates how much memory decoding an image takes, from its header.

The figures are what Pillow 13.0 took for images of 20 million pixels, in bytes a pixel, as the
growth of the process's peak; `tests/clip_engine/test_decoding_memory.py` measures them again.
"""

from __future__ import annotations

import os

from PIL import Image, JpegImagePlugin

# As Pillow stores pixels; RGB takes four bytes, too.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2}
_STORED_OTHERWISE = 4
# At the peak, for modes whose way to 8-bit RGB takes copies.
_PEAK = {"1": 5, "P": 5, "RGBA": 8, "LA": 8, "PA": 13, "I;16": 9, "I;16L": 9, "I;16B": 9}
_PEAK |= {"I": 17, "F": 17}
_TRANSPARENT_PALETTE = 9
_WHOLE_FRAMES = {"WEBP": 14, "AVIF": 15}  # on top: these decoders hold several copies
WEBP_CANVAS = 8  # bytes a pixel, as soon as a WebP is opened
_COPIED = 6  # on top, where torch resizes: the bytes, and an array
_COEFFICIENT = 2  # bytes of one of libjpeg's
_SCAN_HEADER = 8  # bytes, and two a component


def decoding_bytes(
    image: Image.Image,
    full_size: tuple[int, int],
    *,
    resized: int = 0,
    copied: bool = False,
    turned: bool = False,
) -> int:
    """The most memory that it takes to load an image and to make an 8-bit RGB square of it.

    >>> decoding_bytes(Image.new("RGBA", (1000, 1000)), (1000, 1000))
    8000000

    Args:
        image: Opened and not loaded yet.
        full_size: Its width and height before libjpeg scales it.
        resized: Pixels that it is resized to, if that is more than the square.
        copied: Whether torch resizes it.
        turned: Whether Pillow turns it as its EXIF orientation says.
    """
    stored = _STORED.get(image.mode, _STORED_OTHERWISE)
    peak = _PEAK.get(image.mode, stored)
    if image.mode == "P" and image.has_transparency_data:
        peak = _TRANSPARENT_PALETTE
    if turned and ("exif" in image.info or image.format == "TIFF"):
        peak += stored
    if copied:
        peak += _COPIED + _STORED_OTHERWISE * (stored == 1)
    peak += _WHOLE_FRAMES.get(image.format or "", 0)
    pixels = image.width * image.height
    return peak * pixels + _STORED_OTHERWISE * resized + _coefficients_bytes(image, full_size)


def _coefficients_bytes(image: Image.Image, full_size: tuple[int, int]) -> int:
    """What libjpeg keeps of an image that comes in several scans, however far it scales it."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or _has_one_scan(image):
        return 0
    samples = sum(down * across for _, down, across, _ in image.layer)
    most = max(down for _, down, _, _ in image.layer) * max(each[2] for each in image.layer)
    return _COEFFICIENT * full_size[0] * full_size[1] * samples // max(1, most)


def _has_one_scan(image: JpegImagePlugin.JpegImageFile) -> bool:
    """Whether all components are in the first scan, whose header Pillow has just read."""
    if image.info.get("progressive") or image.fp is None:
        return False
    components = len(image.layer)
    length = _SCAN_HEADER + 2 * components
    image.fp.seek(-length, os.SEEK_CUR)  # to where it is left
    marker = bytes((0xFF, 0xDA, 0, length - 2, components))
    return image.fp.read(length).startswith(marker)
