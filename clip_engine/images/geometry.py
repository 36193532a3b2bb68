"""Where an image comes to lie in a model's square of pixels; arithmetic only.

The rounding is that of torchvision's `Resize` and `CenterCrop` for `shortest`, and of open_clip's
`ResizeKeepRatio` and `CenterCropOrPad` for `longest` (open_clip/transform.py).

Axes: R pixels a side of the square.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from clip_engine.images.transform import ImageTransform

Size: TypeAlias = tuple[float, float]  # width and height, perhaps not whole pixels


class Placement(NamedTuple):
    """A resized image and what is taken of it for the square.

    Attributes:
        size: Width and height of the resized image, in pixels.
        kept: Left, top, right and bottom of the part of it that is in the square.
        padding: Columns to the left of that part and rows above it that are padding; None where it
            fills the square.
    """

    size: tuple[int, int]
    kept: tuple[int, int, int, int]
    padding: tuple[int, int] | None = None


def place(
    size: Size, transform: ImageTransform, *, mirror_x: bool = False, mirror_y: bool = False
) -> Placement:
    """The placement of an image.

    >>> place((640, 480), ImageTransform(224))
    Placement(size=(298, 224), kept=(37, 0, 261, 224), padding=None)
    >>> place((640, 480), ImageTransform(224, "longest"))
    Placement(size=(224, 168), kept=(0, 0, 224, 168), padding=(0, 28))
    >>> place((640, 480), ImageTransform(224, "squash"))
    Placement(size=(224, 224), kept=(0, 0, 224, 224), padding=None)

    Args:
        size: Of the image, as it is stored.
        transform: The model's.
        mirror_x: Whether columns will be mirrored later; an odd remainder is on the other side
            then.
        mirror_y: Whether rows will be.
    """
    width, height = resized = resized_size(size, transform)
    side = transform.resolution
    left = _offset(width, side, mirrored=mirror_x)
    top = _offset(height, side, mirrored=mirror_y)
    if width >= side and height >= side:
        return Placement(resized, (left, top, left + side, top + side))
    # left or top is negative, by the padding
    kept = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    return Placement(resized, kept, (max(0, -left), max(0, -top)))


def resized_size(size: Size, transform: ImageTransform) -> tuple[int, int]:
    """Width and height of an image once it is resized, before it is cropped or padded."""
    (width, height), side = size, transform.resolution
    if transform.resize == "squash":
        return side, side
    if transform.resize == "longest":
        ratio = max(height / side, width / side)
        return max(1, round(width / ratio)), max(1, round(height / ratio))
    if width <= height:
        return side, int(side * height / width)
    return int(side * width / height), side


def _offset(length: int, side: int, *, mirrored: bool) -> int:
    """Where the square begins on an axis; negative by the padding before the image."""
    offset = round((length - side) / 2.0) if length >= side else -((side - length) // 2)
    return length - side - offset if mirrored else offset
