"""Decoding and resizing images of every kind: wide grey, palettes, bits, animations."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from support.image_files import encoded
from support.image_zoo import photo, write_zoo

from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Mode, Preprocessor

if TYPE_CHECKING:
    from pathlib import Path

EXACT, FAST = Preprocessor(ImageTransform(224), "exact"), Preprocessor(ImageTransform(224), "fast")
RAMP = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)


# --- kinds of image ---


def wide_pictures() -> dict[str, bytes]:
    big_endian = RAMP.astype(">u2").tobytes()
    return {
        "png": encoded(Image.fromarray(RAMP), "PNG"),
        "tiff": encoded(Image.fromarray(RAMP), "TIFF"),
        "tiff, 32 bits": encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
        "tiff, float": encoded(Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF"),
        "pgm": b"P5 64 64 65535\n" + big_endian,
        "big-endian tiff": encoded(Image.frombytes("I;16B", (64, 64), big_endian), "TIFF"),
    }


@pytest.mark.parametrize("kind", wide_pictures())
def test_grey_of_more_than_8_bits_keeps_its_scale(kind: str) -> None:
    # given a ramp from black to white
    pixels = Preprocessor(ImageTransform(64), "exact").from_bytes(wide_pictures()[kind])
    # then
    expected = torch.from_numpy((RAMP // 257).astype(np.float32))
    assert (pixels.float() - expected).abs().max() <= 1


def test_a_32_bit_picture_that_holds_8_bit_levels_is_taken_as_it_is() -> None:
    grey = (RAMP // 257).astype(np.int32)
    pixels = Preprocessor(ImageTransform(64), "exact").from_bytes(
        encoded(Image.fromarray(grey), "TIFF")
    )
    assert torch.equal(pixels[1], torch.from_numpy(grey.astype(np.uint8)))


def test_float_levels_that_are_no_numbers_become_black_or_white() -> None:
    grey = np.array([[np.nan, np.inf], [-np.inf, 0.5]], dtype=np.float32)
    pixels = Preprocessor(ImageTransform(2), "exact").from_bytes(
        encoded(Image.fromarray(grey), "TIFF")
    )
    assert pixels[0].tolist() == [[0, 255], [0, 0]]


def test_a_palette_is_resampled_as_colours_not_as_numbers() -> None:
    # given two colours, in stripes of one pixel, whose mean the reference would never give
    image = Image.new("P", (448, 448))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.putdata([x % 2 for _ in range(448) for x in range(448)])
    pixels = EXACT.from_bytes(encoded(image, "PNG"))
    assert pixels[:, 8:-8, 8:-8].float().sub(127.5).abs().max() < 8


def test_a_palette_with_transparency_is_resampled_like_rgba() -> None:
    image = photo((90, 60), seed=2).quantize(32)
    data = encoded(image, "PNG", transparency=3)
    rgba = Image.open(io.BytesIO(data)).convert("RGBA")
    assert torch.equal(EXACT.from_bytes(data), EXACT.from_image(rgba))


def test_one_bit_pictures_become_black_and_white() -> None:
    image = Image.new("1", (300, 300))
    image.paste(1, (150, 0, 300, 300))
    pixels = EXACT.from_bytes(encoded(image, "PNG"))
    assert pixels[:, :, :100].max() == 0
    assert pixels[:, :, 124:].min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    first, second = (Image.new("RGB", (50, 40), c) for c in ((250, 10, 10), (10, 10, 250)))
    data = encoded(first, kind, save_all=True, append_images=[second], duration=50)
    red, green, blue = EXACT.from_bytes(data).float().mean(dim=(1, 2)).tolist()
    assert (red, green, blue) == pytest.approx((250, 10, 10), abs=4)


# --- what comes out ---


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_the_result_is_a_writable_contiguous_uint8_tensor(mode: Mode) -> None:
    pixels = Preprocessor(ImageTransform(32), mode).from_bytes(
        encoded(Image.new("RGB", (40, 50)), "JPEG")
    )
    assert (pixels.shape, pixels.dtype) == ((3, 32, 32), torch.uint8)
    assert pixels.is_contiguous()
    pixels += 1


def test_a_picture_that_the_caller_opened_keeps_its_size_and_pixels() -> None:
    # given a JPEG so large that fast mode would decode it scaled
    data = encoded(photo((1920, 1280), seed=1920), "JPEG", quality=90)
    image = Image.open(io.BytesIO(data))
    # when
    FAST.from_image(image)
    # then
    assert image.size == (1920, 1280)
    assert image.tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_eight_threads_get_what_one_gets(tmp_path: Path) -> None:
    pictures = [path.read_bytes() for path in write_zoo(tmp_path, 18, seed=2)]
    alone = [FAST.from_bytes(data) for data in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(FAST.from_bytes, pictures * 4))
    for index, pixels in enumerate(together):
        assert torch.equal(pixels, alone[index % len(alone)])
