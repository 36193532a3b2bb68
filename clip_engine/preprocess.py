"""Decodes, resizes and crops images to the pixels that the image tower takes.

The contract is that of the CLIP paper's code, a torchvision `Compose`: shortest side to R by
antialiased bicubic resampling, centre crop, RGB; and of open_clip's transforms for models that pad
or squash. Differences are deliberate: EXIF orientation is applied; images with more than 8 bits a
channel or a palette become RGB *before* they are resampled (Pillow would clip the former to white
and use nearest neighbours for the latter); and padding is grey of the model's level in RGB.
Pixels stay uint8; they are normalised on the device, a batch at a time
(`clip_engine.images.normalisation`).

Axes: R pixels a side.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from clip_engine.errors import ImageError
from clip_engine.image_checks import check_image_file
from clip_engine.image_checks.webp import webp_pixels
from clip_engine.images.decoding_memory import WEBP_CANVAS, decoding_bytes
from clip_engine.images.geometry import Placement, Size, place, resized_size
from clip_engine.images.jpeg import decode_jpeg
from clip_engine.images.orientation import NONE, Turn, turn_of
from clip_engine.images.resample import resize_to_square
from clip_engine.images.transform import ImageTransform

# Decoders that are safe on hostile bytes: no interpreters (EPS), no rarely exercised formats.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "ICO")
DEFAULT_MAX_PIXELS = 89_478_485  # above it Pillow warns of a decompression bomb
FAST_MARGIN = 2  # a scaled JPEG decode keeps at least twice the target's size
# Fast mode copies an image's pixels and resizes all of them; of larger ones, and of strips, Pillow
# resizes what the crop keeps.
MOST_COPIED = 16_000_000  # pixels
LONGEST = 8  # times the shorter side
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

MEMORY_WORDS = ("out of memory", "can't allocate memory")  # of Pillow's OSError, of torch

Mode: TypeAlias = Literal["exact", "fast"]
Reserve: TypeAlias = Callable[[int], None]


@dataclass(frozen=True)
class Preprocessor:
    """Decodes, resizes and crops images; holds no state, so threads may share it.

    Attributes:
        transform: Size, resize mode and interpolation of the model's input.
        mode: `exact` follows the reference to within 1/255. `fast` lets libjpeg scale while it
            decodes (to no less than twice R), and resamples with torch: the mean difference is
            within 0.35/255 on smooth images and within 2/255 on photographs that are sharp to the
            pixel, half a level in the mean of these (`benchmarks/scaled_decode.py`).
        max_pixels: Largest width times height that is decoded.
        formats: Image formats that are decoded, of `FORMATS`.
    """

    transform: ImageTransform
    mode: Mode = "fast"
    max_pixels: int = DEFAULT_MAX_PIXELS
    formats: tuple[str, ...] = FORMATS

    def from_bytes(self, data: bytes, reserve: Reserve | None = None) -> Tensor:
        """Decode an encoded image; of an animation, its first frame.

        Args:
            data: All bytes of the file.
            reserve: Called with the bytes of memory that this may take, before it takes them; it
                may wait. Called a second time, with more, for a WebP: opening one allocates its
                canvas.

        Returns:
            uint8 `[3, R, R]`, RGB.

        Raises:
            ImageError: The bytes are no image, are cut off or broken, have too many pixels, or
                would cost the decoder far more than an image should.
            MemoryError: There is not enough, which is not the image's fault.
        """
        with _decoding():
            image = self._open(data, reserve)
            self._check_size(image)
            full_size, filled = image.size, None
            if self.mode == "fast" and image.format in ("JPEG", "MPO"):
                filled = self._scale_while_decoding(image)
            if reserve is not None:
                reserve(self._memory_bytes(image, full_size))
            pixels = decode_jpeg(data, image) if self._is_fast(image) else None
            if pixels is not None:
                return self._fast_square(pixels, filled or image.size, turn_of(image))
            return self._prepare(image, filled)

    def from_image(self, image: Image.Image) -> Tensor:
        """Prepare an image that Pillow has opened; its pixels are not changed.

        Returns:
            uint8 `[3, R, R]`, RGB.

        Raises:
            ImageError: Its file is cut off or broken, or it has too many pixels or none.
        """
        with _decoding():
            self._check_size(image)
            return self._prepare(image)

    def _prepare(self, image: Image.Image, filled: Size | None = None) -> Tensor:
        """Resize, crop and turn an image.

        Args:
            image: Not loaded yet, perhaps.
            filled: What the image fills of the image's width and height, if not all of it.
        """
        image.load()
        turn = turn_of(image)
        image = _resamplable(image)
        if self.mode == "exact":  # as the reference: turned first, for rounding has a side
            image, turn = turn.upright(image), NONE
        filled = filled or image.size
        if image.mode in ("RGB", "L") and self._is_fast(image):
            rgb = image if image.mode == "RGB" else image.convert("RGB")  # else it would be copied
            return self._fast_square(np.array(rgb), filled, turn)
        square = self._square(image, filled, self._placement(filled, turn))
        pixels = np.array(square)  # [R, R, 3], a writable copy
        return turn.upright_pixels(torch.from_numpy(pixels).permute(2, 0, 1))  # HWC -> CHW

    def _is_fast(self, image: Image.Image) -> bool:
        return self.mode == "fast" and _is_ordinary(image.size)

    def _fast_square(self, pixels: NDArray[np.uint8], filled: Size, turn: Turn) -> Tensor:
        """uint8 `[3, R, R]`, upright, of RGB pixels `[H, W, 3]`."""
        square = resize_to_square(pixels, filled, self._placement(filled, turn), self.transform)
        return turn.upright_pixels(square)

    def _placement(self, filled: Size, turn: Turn) -> Placement:
        """Where an image comes to lie, as it is stored."""
        return place(filled, self.transform, mirror_x=turn.mirror_x, mirror_y=turn.mirror_y)

    def _open(self, data: bytes, reserve: Reserve | None) -> Image.Image:
        if not data:
            raise ImageError("The image is empty (0 bytes); give a whole file.", "EMPTY_IMAGE")
        check_image_file(data)
        if reserve is not None and (pixels := webp_pixels(data)):
            reserve(WEBP_CANVAS * pixels)
        try:
            return Image.open(io.BytesIO(data), formats=self.formats)
        except UnidentifiedImageError as error:
            raise ImageError(
                f"These {len(data)} bytes, which begin with {data[:12]!r}, are no image that is "
                f"known; give one of {', '.join(self.formats)}.",
                "DECODE_UNRECOGNIZED",
            ) from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageError(
                f"The image has too many pixels ({error}); the limit is {self.max_pixels}.",
                "TOO_MANY_PIXELS",
            ) from error

    def _check_size(self, image: Image.Image) -> None:
        width, height = image.size
        if width * height > self.max_pixels:
            raise ImageError(
                f"The image is {width}x{height}, {width * height} pixels; give one of at most "
                f"{self.max_pixels}.",
                "TOO_MANY_PIXELS",
            )
        if width * height == 0:
            raise ImageError(f"The image is {width}x{height}: it has no pixels.", "EMPTY_IMAGE")

    def _memory_bytes(self, image: Image.Image, full_size: tuple[int, int]) -> int:
        width, height = resized_size(image.size, self.transform)
        is_exact = self.mode == "exact"
        return decoding_bytes(
            image,
            full_size,
            resized=width * height if is_exact and width * height <= self.max_pixels else 0,
            copied=not is_exact and _is_ordinary(image.size),
            turned=is_exact,
        )

    def _scale_while_decoding(self, image: Image.Image) -> Size | None:
        """Let libjpeg decode at 1/2, 1/4 or 1/8 where that leaves twice the target's size.

        Returns:
            The scaled image's width and height. libjpeg rounds its image up to whole pixels, so
            the last column and row may lie outside in part. None if nothing was scaled.
        """
        width, height = resized_size(image.size, self.transform)
        drafted = image.draft(None, (FAST_MARGIN * width, FAST_MARGIN * height))
        return None if drafted is None else drafted[1][2:]

    def _square(self, image: Image.Image, filled: Size, placement: Placement) -> Image.Image:
        """The square of an image, in RGB."""
        kept = self._kept(image, filled, placement).convert("RGB")
        if placement.padding is None:
            return kept
        side, fill = self.transform.resolution, self.transform.fill
        square = Image.new("RGB", (side, side), (fill, fill, fill))
        square.paste(kept, placement.padding)
        return square

    def _kept(self, image: Image.Image, filled: Size, placement: Placement) -> Image.Image:
        """The part of the resized image that is in the square."""
        (width, height), kept = placement.size, placement.kept
        method = RESAMPLING[self.transform.interpolation]
        # Of a strip the reference's detour grows without bound: 1x65535 becomes 224x14679840.
        if self.mode == "exact" and width * height <= self.max_pixels:
            return image.resize((width, height), method).crop(kept)
        across, down = filled[0] / width, filled[1] / height
        box = (kept[0] * across, kept[1] * down, kept[2] * across, kept[3] * down)
        return image.resize((kept[2] - kept[0], kept[3] - kept[1]), method, box=box)


def _is_ordinary(size: tuple[int, int]) -> bool:
    width, height = size
    return width * height <= MOST_COPIED and max(size) <= LONGEST * min(size)


def _resamplable(image: Image.Image) -> Image.Image:
    """The image in a mode of 8 bits a channel that Pillow can resample."""
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
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever the bytes lead them to
        if any(words in str(error).lower() for words in MEMORY_WORDS):
            raise MemoryError(str(error)) from error
        raise _broken(error) from error


def _broken(error: Exception) -> ImageError:
    reason = str(error).strip() or type(error).__name__
    if "truncated" in reason.lower():
        return ImageError(
            f"The image is cut off ({reason}); give the whole file.", "DECODE_TRUNCATED"
        )
    return ImageError(f"The image can't be decoded ({reason}); give a sound file.", "DECODE_BROKEN")
