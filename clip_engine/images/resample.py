"""Antialiased resampling of 8-bit images, faster than Pillow's (`benchmarks/resize.py`).

torch's kernel for uint8 works on an image's bytes as they lie, with Pillow's coefficients in
fixed point: what it gives is off by one level in a few pixels of a thousand.

Axes: H height, W width, R pixels a side of the square that is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from clip_engine.images.geometry import Placement, Size
from clip_engine.images.transform import ImageTransform

# torch cuts a size that it works out from a factor: this lifts it above the whole number, and moves
# no pixel by more than a thousandth of one.
_LIFT = 1e-6


def resize_to_square(
    image: NDArray[np.uint8],
    filled: Size,
    placement: Placement,
    transform: ImageTransform,
) -> Tensor:
    """Resize an image, and crop or pad it to a square.

    Args:
        image: RGB, uint8 `[H, W, 3]`.
        filled: What the image fills of its width and height, from the top left corner on: all, or
            all but a part of the last column and row. At least twice the placement's size, then.
        placement: The size to resize to, and what of that is kept.
        transform: The model's.

    Returns:
        uint8 `[3, R, R]`.
    """
    (width, height), whole = placement.size, filled == (image.shape[1], image.shape[0])
    # In this order the strides are those of channels_last, which torch takes and gives as it lies.
    pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2)  # HWC seen as [1, 3, H, W]
    if width > image.shape[1] and height < image.shape[0]:  # Pillow resizes the columns first, then
        pixels = _resized(pixels, transform, size=(height, image.shape[1]))
    factors = (height + _LIFT) / filled[1], (width + _LIFT) / filled[0]
    resized = _resized(
        pixels,
        transform,
        size=(height, width) if whole else None,
        scale_factor=None if whole else factors,
    )
    left, top, right, bottom = placement.kept
    kept = resized[0, :, top:bottom, left:right]
    if placement.padding is not None:
        return _padded(kept, placement.padding, transform)
    return torch.from_numpy(np.ascontiguousarray(kept.numpy()))  # in half the time of torch's


def _resized(pixels: Tensor, transform: ImageTransform, **to: Any) -> Tensor:
    return functional.interpolate(pixels, mode=transform.interpolation, antialias=True, **to)


def _padded(kept: Tensor, padding: tuple[int, int], transform: ImageTransform) -> Tensor:
    left, top = padding
    side = transform.resolution
    square = kept.new_full((3, side, side), transform.fill)
    square[:, top : top + kept.shape[1], left : left + kept.shape[2]] = kept
    return square
