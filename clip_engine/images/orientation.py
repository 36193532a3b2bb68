"""Applies the EXIF orientation (1 to 8) of an image.

Pillow's own `exif_transpose` also rewrites all metadata, and so fails for a valid image whose other
metadata are broken.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL import ExifTags, Image
from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """What makes a stored image upright: mirror it, then swap its axes.

    Attributes:
        method: Pillow's, for a whole image; None where nothing is to be done.
        mirror_x: Whether stored columns run backwards.
        mirror_y: Whether stored rows run backwards.
        swap: Whether columns then become rows.
    """

    method: Image.Transpose | None = None
    mirror_x: bool = False
    mirror_y: bool = False
    swap: bool = False

    def upright(self, image: Image.Image) -> Image.Image:
        """A whole image turned."""
        return image if self.method is None else image.transpose(self.method)

    def upright_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels `[3, H, W]` turned, contiguous."""
        mirrored = [axis for axis, is_so in ((1, self.mirror_y), (2, self.mirror_x)) if is_so]
        pixels = pixels.flip(mirrored) if mirrored else pixels
        return (pixels.transpose(1, 2) if self.swap else pixels).contiguous()


NONE = Turn()
TURNS: dict[object, Turn] = {
    2: Turn(Image.Transpose.FLIP_LEFT_RIGHT, mirror_x=True),
    3: Turn(Image.Transpose.ROTATE_180, mirror_x=True, mirror_y=True),
    4: Turn(Image.Transpose.FLIP_TOP_BOTTOM, mirror_y=True),
    5: Turn(Image.Transpose.TRANSPOSE, swap=True),
    6: Turn(Image.Transpose.ROTATE_270, mirror_y=True, swap=True),
    7: Turn(Image.Transpose.TRANSVERSE, mirror_x=True, mirror_y=True, swap=True),
    8: Turn(Image.Transpose.ROTATE_90, mirror_x=True, swap=True),
}


def turn_of(image: Image.Image) -> Turn:
    """What an image's orientation asks for; broken metadata count as none.

    Args:
        image: Loaded. (With a TIFF, Pillow turns it then and drops the orientation.)
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError, struct.error):
        return NONE
    return TURNS.get(orientation, NONE)
