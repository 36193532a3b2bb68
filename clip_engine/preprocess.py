"""From a picture's bytes to the pixels that the image tower takes.

The contract is that of the CLIP paper's code, a torchvision `Compose`: shortest side to R by
antialiased bicubic resampling, centre crop, RGB. Two things differ, on purpose: EXIF orientation is
applied, and pictures of more than 8 bits a channel or with a palette become RGB *before* they are
resampled (Pillow would clip the former to white and take nearest neighbours of the latter).
CLIP's mean and deviation are taken out later, for a batch at a time on the device
(`engine.normalise`), so that a picture travels as uint8.

Axes: R pixels a side.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from clip_engine.errors import ImageError

# Decoders that are safe on hostile bytes: no interpreters (EPS), no rarely exercised formats.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "ICO")
DEFAULT_MAX_PIXELS = 89_478_485  # above it Pillow warns of a decompression bomb
FAST_MARGIN = 2  # a scaled JPEG decode keeps at least twice the target's size

Mode: TypeAlias = Literal["exact", "fast"]


@dataclass(frozen=True)
class Preprocessor:
    """Decodes, resizes and crops pictures; holds no state, so threads may share it.

    Attributes:
        resolution: R, pixels a side.
        mode: `exact` follows the reference to within 1/255. `fast` lets libjpeg scale while it
            decodes (to no less than twice R, which keeps the mean difference within 0.35/255), and
            resamples only what the crop keeps.
        max_pixels: Largest width times height that is decoded.
    """

    resolution: int
    mode: Mode = "fast"
    max_pixels: int = DEFAULT_MAX_PIXELS

    def from_bytes(self, data: bytes) -> Tensor:
        """Decode an encoded picture; of an animation, its first frame.

        Returns:
            uint8 `[3, R, R]`, RGB.

        Raises:
            ImageError: The bytes are no picture, are cut off or broken, or have too many pixels.
        """
        try:
            return self.from_image(self._open(data))
        except ImageError:
            raise
        except Exception as error:  # decoders raise whatever the bytes lead them to
            raise _broken(error) from error

    def from_image(self, image: Image.Image) -> Tensor:
        """Prepare a picture that Pillow has opened.

        Returns:
            uint8 `[3, R, R]`, RGB.

        Raises:
            ImageError: It has too many pixels or none.
        """
        self._check_size(image)
        if self.mode == "fast" and image.format in ("JPEG", "MPO"):
            self._scale_while_decoding(image)
        image = _upright(image)
        image = self._resize_and_crop(_resamplable(image))
        pixels = np.array(image.convert("RGB"))  # [R, R, 3], a writable copy
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # HWC -> CHW

    def _open(self, data: bytes) -> Image.Image:
        if not data:
            raise ImageError("The picture is empty (0 bytes); give a whole file.", "EMPTY_IMAGE")
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise ImageError(
                f"These {len(data)} bytes, which begin with {data[:12]!r}, are no picture that is "
                f"known; give one of {', '.join(FORMATS)}.",
                "DECODE_UNRECOGNIZED",
            ) from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageError(
                f"The picture has too many pixels ({error}); the limit is {self.max_pixels}.",
                "TOO_MANY_PIXELS",
            ) from error

    def _check_size(self, image: Image.Image) -> None:
        width, height = image.size
        if width * height > self.max_pixels:
            raise ImageError(
                f"The picture is {width}x{height}, {width * height} pixels; give one of at most "
                f"{self.max_pixels}.",
                "TOO_MANY_PIXELS",
            )
        if width * height == 0:
            raise ImageError(f"The picture is {width}x{height}: it has no pixels.", "EMPTY_IMAGE")

    def _scale_while_decoding(self, image: Image.Image) -> None:
        """Let libjpeg decode at 1/2, 1/4 or 1/8 where that leaves twice the target's size."""
        width, height = _resized(image.size, self.resolution)
        image.draft(None, (FAST_MARGIN * width, FAST_MARGIN * height))

    def _resize_and_crop(self, image: Image.Image) -> Image.Image:
        width, height = _resized(image.size, self.resolution)
        left, top = _crop_offset(width, self.resolution), _crop_offset(height, self.resolution)
        crop = (left, top, left + self.resolution, top + self.resolution)
        if self.mode == "exact":
            return image.resize((width, height), Image.Resampling.BICUBIC).crop(crop)
        across, down = image.width / width, image.height / height
        box = (crop[0] * across, crop[1] * down, crop[2] * across, crop[3] * down)
        return image.resize((self.resolution, self.resolution), Image.Resampling.BICUBIC, box=box)


def _resized(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """Width and height once the shortest side is R; the longer is cut, as in torchvision."""
    width, height = size
    if width <= height:
        return resolution, int(resolution * height / width)
    return int(resolution * width / height), resolution


def _crop_offset(length: int, resolution: int) -> int:
    return round((length - resolution) / 2.0)


def _upright(image: Image.Image) -> Image.Image:
    """Turn the picture as its EXIF orientation says; broken metadata counts as none."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError, struct.error):
        turned = False
    return ImageOps.exif_transpose(image) if turned else image


def _resamplable(image: Image.Image) -> Image.Image:
    """The picture in a mode of 8 bits a channel that Pillow can resample."""
    if image.mode in ("RGB", "RGBA", "L", "LA", "CMYK", "YCbCr", "HSV", "RGBX"):
        return image
    if image.mode.startswith("I;16"):
        # Pillow's own conversion would clip at 255.
        return Image.fromarray((np.asarray(image, dtype=np.uint16) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _broken(error: Exception) -> ImageError:
    reason = str(error).strip() or type(error).__name__
    if "truncated" in reason.lower():
        return ImageError(
            f"The picture is cut off ({reason}); give the whole file.", "DECODE_TRUNCATED"
        )
    return ImageError(
        f"The picture can't be decoded ({reason}); give a sound file.", "DECODE_BROKEN"
    )
