"""Makes an image smaller before it is uploaded. Needs Pillow, which the client does not install."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from clip_worker.errors import ClipWorkerError, ImageInvalidError, InvalidRequestError, ServiceError

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 89_478_485  # Pillow's own bound, and a worker's (CLIP_WORKER_MAX_PIXELS)
QUALITY = 90
# Not those that Pillow reads with another program's help, such as EPS.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "ICO")
_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def shrink(data: bytes, shortest: int) -> bytes:
    """An image file with a shortest side of at most so many pixels.

    It is turned upright as its EXIF data says, and encoded as JPEG, or as PNG if it has
    transparency. An image that is small enough, or has more than 8 bits per channel, is returned
    unchanged.

    Args:
        data: The bytes of an image file.
        shortest: Pixels, at least 1.

    Raises:
        InvalidRequestError: `BAD_SHRINK`: `shortest` is not a positive integer.
        ImageInvalidError: The image can't be decoded, or has too many pixels.
        ServiceError: `NO_PILLOW`: Pillow is not installed.
    """
    if type(shortest) is not int or shortest < 1:
        raise InvalidRequestError(
            f"shrink_to is {shortest!r}; pass a number of pixels, such as 512.", "BAD_SHRINK"
        )
    try:
        from PIL import Image  # optional
    except ImportError as error:
        raise ServiceError(
            "shrink_to needs Pillow, which is not installed; run `pip install pillow`.", "NO_PILLOW"
        ) from error
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _shrunk(image, shortest) or data
    except ClipWorkerError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels() from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise ImageInvalidError(
            "The upload can't be shrunk, because Pillow can't decode it "
            f"({type(error).__name__}); pass the bytes of an image file ({', '.join(FORMATS)}).",
            "DECODE_BROKEN",
        ) from error


def _shrunk(image: Image.Image, shortest: int) -> bytes | None:
    """The image, encoded; None if it is to stay as it is."""
    from PIL import Image, ImageOps  # optional

    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _too_many_pixels()
    if min(width, height) <= shortest or image.mode not in _EIGHT_BIT:
        return None
    # A JPEG's decoder can halve its sides by itself.
    image.draft(None, (2 * _scaled(width, image, shortest), 2 * _scaled(height, image, shortest)))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    upright = ImageOps.exif_transpose(image).convert(mode)
    width, height = upright.size
    size = _scaled(width, upright, shortest), _scaled(height, upright, shortest)
    small = upright.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    small.info.clear()  # what it says of the image, perhaps where it was taken
    encoded = io.BytesIO()
    if mode == "RGBA":
        small.save(encoded, "PNG")
    else:
        small.save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def _scaled(side: int, image: Image.Image, shortest: int) -> int:
    return round(side * shortest / min(image.size))


def _too_many_pixels() -> ImageInvalidError:
    return ImageInvalidError(
        f"The upload has more than {MOST_PIXELS} pixels, the most that shrink_to decodes; make it "
        "smaller first.",
        "TOO_MANY_PIXELS",
    )
