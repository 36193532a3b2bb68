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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from clip_engine.errors import ImageError
from clip_engine.resample import resize_and_crop

# Decoders that are safe on hostile bytes: no interpreters (EPS), no rarely exercised formats.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "ICO")
DEFAULT_MAX_PIXELS = 89_478_485  # above it Pillow warns of a decompression bomb
FAST_MARGIN = 2  # a scaled JPEG decode keeps at least twice the target's size
# Fast mode copies a picture's pixels and resizes all of them; of larger ones, and of strips, Pillow
# resizes what the crop keeps.
MOST_COPIED = 16_000_000  # pixels
LONGEST = 8  # times the shorter side
# What undoes each EXIF orientation. Pillow's exif_transpose rewrites all metadata as well, and so
# refuses a sound picture whose other metadata are broken.
UPRIGHT_BY: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Mode: TypeAlias = Literal["exact", "fast"]


@dataclass(frozen=True)
class Preprocessor:
    """Decodes, resizes and crops pictures; holds no state, so threads may share it.

    Attributes:
        resolution: R, pixels a side.
        mode: `exact` follows the reference to within 1/255. `fast` lets libjpeg scale while it
            decodes (to no less than twice R, which keeps the mean difference within 0.35/255), and
            resamples with torch.
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
        with _decoding():
            image = self._open(data)
            self._check_size(image)
            if self.mode == "fast" and image.format in ("JPEG", "MPO"):
                self._scale_while_decoding(image)
            return self._prepare(image)

    def from_image(self, image: Image.Image) -> Tensor:
        """Prepare a picture that Pillow has opened; its pixels are not changed.

        Returns:
            uint8 `[3, R, R]`, RGB.

        Raises:
            ImageError: Its file is cut off or broken, or it has too many pixels or none.
        """
        with _decoding():
            self._check_size(image)
            return self._prepare(image)

    def _prepare(self, image: Image.Image) -> Tensor:
        image = _resamplable(_upright(image))
        if self.mode == "fast" and image.mode in ("RGB", "L") and _is_ordinary(image.size):
            width, height = _resized(image.size, self.resolution)
            corner = _crop_offset(width, self.resolution), _crop_offset(height, self.resolution)
            rgb = image if image.mode == "RGB" else image.convert("RGB")  # else it would be copied
            return resize_and_crop(rgb, (width, height), corner, self.resolution)
        image = self._resize_and_crop(image)
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
        # Of a strip the reference's detour grows without bound: 1x65535 becomes 224x14679840.
        if self.mode == "exact" and width * height <= self.max_pixels:
            return image.resize((width, height), Image.Resampling.BICUBIC).crop(crop)
        across, down = image.width / width, image.height / height
        box = (crop[0] * across, crop[1] * down, crop[2] * across, crop[3] * down)
        return image.resize((self.resolution, self.resolution), Image.Resampling.BICUBIC, box=box)


def _is_ordinary(size: tuple[int, int]) -> bool:
    width, height = size
    return width * height <= MOST_COPIED and max(size) <= LONGEST * min(size)


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
    image.load()  # with a TIFF, Pillow turns it here and drops the orientation
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError, struct.error):
        return image
    turn = UPRIGHT_BY.get(orientation)
    return image if turn is None else image.transpose(turn)


def _resamplable(image: Image.Image) -> Image.Image:
    """The picture in a mode of 8 bits a channel that Pillow can resample."""
    if image.mode in ("RGB", "RGBA", "L", "LA", "CMYK", "YCbCr", "HSV", "RGBX"):
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bit(np.asarray(image)))
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _eight_bit(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey levels of a wider type as 8 bits; Pillow's own conversion would clip them at 255.

    Mode I holds 8 or 16 bits (PGM, TIFF) and F usually 0 to 1; only the largest level tells.
    """
    if levels.dtype.kind == "f":
        levels = np.nan_to_num(levels)
        scaled = levels * 255 if levels.max() <= 1 else levels
    elif levels.dtype.itemsize == 2 or levels.max() > 255:
        scaled = levels // 257
    else:
        scaled = levels
    return scaled.clip(0, 255).astype(np.uint8)


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # decoders raise whatever the bytes lead them to
        raise _broken(error) from error


def _broken(error: Exception) -> ImageError:
    reason = str(error).strip() or type(error).__name__
    if "truncated" in reason.lower():
        return ImageError(
            f"The picture is cut off ({reason}); give the whole file.", "DECODE_TRUNCATED"
        )
    return ImageError(
        f"The picture can't be decoded ({reason}); give a sound file.", "DECODE_BROKEN"
    )
