"""Antialiased bicubic resampling of 8-bit pictures, faster than Pillow's (`benchmarks/resize.py`).

torch's kernel for uint8 works on a picture's bytes as they lie, with Pillow's coefficients in
fixed point: what it gives is off by one level in a few pixels of a thousand.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


def resize_and_crop(
    image: Image.Image, size: tuple[int, int], corner: tuple[int, int], side: int
) -> Tensor:
    """Resize a whole picture, and keep a square of it.

    Args:
        image: Of mode RGB.
        size: Its new width and height in pixels.
        corner: Left and top of the square.
        side: R, its width and height.

    Returns:
        uint8 `[3, R, R]`.
    """
    (width, height), (left, top) = size, corner
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # HWC bytes seen as [3, H, W]
    resized = functional.interpolate(
        pixels[None], size=(height, width), mode="bicubic", antialias=True
    )
    return resized[0, :, top : top + side, left : left + side].contiguous()
