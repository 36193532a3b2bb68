"""Images as the bytes of a file."""

from __future__ import annotations

import io

from PIL import ExifTags, Image

# Pillow's transposes that undo what an EXIF orientation asks for.
UNDO = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """The image in this format of Pillow's, with options of its `save`."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(orientation: int) -> Image.Exif:
    """EXIF metadata with this orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def stored_turned(
    upright: Image.Image, orientation: int, kind: str = "JPEG", **options: object
) -> bytes:
    """The image as a camera that was held like this stores it."""
    turned = upright.transpose(UNDO[orientation]) if orientation in UNDO else upright
    return encoded(turned, kind, exif=oriented(orientation), **options)
