"""Antialiased bicubic resampling of 8-bit images, faster than Pillow's (`benchmarks/resize.py`).

torch's kernel for uint8 works on an image's bytes as they lie, with Pillow's coefficients in
fixed point: what it gives is off by one level in a few pixels of a thousand.

Axes: H height, W width, R pixels a side of the square that is kept.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# torch cuts a size that it works out from a factor: this lifts it above the whole number, and moves
# no pixel by more than a thousandth of one.
_LIFT = 1e-6


def resize_and_crop(
    image: NDArray[np.uint8],
    filled: tuple[float, float],
    size: tuple[int, int],
    corner: tuple[int, int],
    side: int,
) -> Tensor:
    """Resize an image, and keep a square of it.

    Args:
        image: RGB, uint8 `[H, W, 3]`.
        filled: What the image fills of the image's width and height, from the top left corner
            on: all, or all but a part of the last column and row. At least twice `size`, then.
        size: The image's new width and height in pixels.
        corner: Left and top of the square.
        side: R, its width and height.

    Returns:
        uint8 `[3, R, R]`.
    """
    (width, height), (left, top) = size, corner
    pixels = torch.from_numpy(image).permute(2, 0, 1)  # HWC seen as [3, H, W]
    factors = (height + _LIFT) / filled[1], (width + _LIFT) / filled[0]
    whole = filled == (image.shape[1], image.shape[0])
    resized = functional.interpolate(
        pixels[None],
        size=(height, width) if whole else None,
        scale_factor=None if whole else factors,
        mode="bicubic",
        antialias=True,
    )
    return resized[0, :, top : top + side, left : left + side]
