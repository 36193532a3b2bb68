"""Decodes ordinary JPEGs by libjpeg-turbo directly, in half of Pillow's time.

Pillow feeds libjpeg line by line, stores four bytes a pixel and copies them once more;
`simplejpeg` decodes a file into an array in one call (`benchmarks/resize.py`). Both hold the
same library: pixels are the same, which a test compares. Whatever `simplejpeg` refuses or warns of
is left to Pillow, which then says what is wrong with it.

Axes: H height, W width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    import simplejpeg
except ImportError:  # no wheel for this platform
    simplejpeg = None

_FORMATS = ("JPEG", "MPO")  # of an MPO, Pillow takes the first image too
_MODES = ("RGB", "L")  # CMYK needs Pillow's knowledge of Adobe's inverted values


def decode_jpeg(data: bytes, image: Image.Image) -> NDArray[np.uint8] | None:
    """Decode a JPEG at the size to which Pillow's `draft` has scaled it.

    Args:
        data: The whole file.
        image: The same file, opened by Pillow and not loaded.

    Returns:
        RGB, uint8 `[H, W, 3]`; None where Pillow has to decode it.
    """
    if simplejpeg is None or image.format not in _FORMATS or image.mode not in _MODES:
        return None
    width, height = image.size
    try:
        # The smallest of libjpeg's scales that gives at least this size: that of `draft`.
        pixels: NDArray[Any] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=height, min_width=width
        )
    except ValueError:
        return None
    return pixels if pixels.shape == (height, width, 3) else None
