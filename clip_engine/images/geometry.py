"""Where an image comes to lie in a model's square of pixels; arithmetic only.

The rounding is that of torchvision's `Resize` and `CenterCrop` for `shortest`, and of open_clip's
`ResizeKeepRatio` and `CenterCropOrPad` for `longest` (open_clip/transform.py).

Axes: R pixels a side of the square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from clip_engine.images.transform import ImageTransform

Size: TypeAlias = tuple[float, float]  # width and height, perhaps not whole pixels


@dataclass(frozen=True, slots=True)
class Placement:
    """A resized image and the square that is taken of it.

    Attributes:
        size: Width and height of the resized image, in pixels.
        corner: Left and top of the square in the resized image; negative where the square reaches
            beyond the image and is padded.
        side: R.
    """

    size: tuple[int, int]
    corner: tuple[int, int]
    side: int

    @property
    def kept(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the part of the resized image that is in the square."""
        (width, height), (left, top) = self.size, self.corner
        right, bottom = min(width, left + self.side), min(height, top + self.side)
        return max(0, left), max(0, top), right, bottom

    @property
    def padding(self) -> tuple[int, int]:
        """Columns on the left and rows on top of the square that are padding."""
        return max(0, -self.corner[0]), max(0, -self.corner[1])

    @property
    def is_padded(self) -> bool:
        """Whether the image doesn't fill the square."""
        return self.size[0] < self.side or self.size[1] < self.side


def place(
    size: Size, transform: ImageTransform, *, mirror_x: bool = False, mirror_y: bool = False
) -> Placement:
    """The placement of an image.

    >>> place((640, 480), ImageTransform(224))
    Placement(size=(298, 224), corner=(37, 0), side=224)
    >>> place((640, 480), ImageTransform(224, "longest"))
    Placement(size=(224, 168), corner=(0, -28), side=224)
    >>> place((640, 480), ImageTransform(224, "squash"))
    Placement(size=(224, 224), corner=(0, 0), side=224)

    Args:
        size: Of the image, as it is stored.
        transform: The model's.
        mirror_x: Whether columns will be mirrored later; an odd remainder is on the other side
            then.
        mirror_y: Whether rows will be.
    """
    width, height = resized = resized_size(size, transform)
    left = _offset(width, transform.resolution, mirrored=mirror_x)
    top = _offset(height, transform.resolution, mirrored=mirror_y)
    return Placement(resized, (left, top), transform.resolution)


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
