"""`simplejpeg` against Pillow: the same pixels, or none."""

from __future__ import annotations

import contextlib
import io
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.image_files import encoded, oriented
from support.image_zoo import photo

from clip_engine.images.jpeg import decode_jpeg
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor

SIZES = ((1, 1), (7, 5), (64, 64), (223, 301), (500, 375), (801, 603))
OPTIONS: tuple[dict[str, Any], ...] = (
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"progressive": True},
    {"optimize": True, "quality": 30},
    {"restart_marker_rows": 1},
    {"keep_rgb": True},
)


def both(data: bytes, least: int = 0) -> tuple[Any, Any]:
    """What simplejpeg and Pillow make of a file, scaled to no less than `least` pixels a side."""
    opened, loaded = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
    for image in (opened, loaded):
        if least:
            image.draft(None, (least, least))
    return decode_jpeg(data, opened), np.asarray(loaded.convert("RGB"))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_pillows(size: tuple[int, int], mode: str, options: dict[str, Any]) -> None:
    data = encoded(photo(size, seed=1).convert(mode), **options)
    ours, pillows = both(data)
    np.testing.assert_array_equal(ours, pillows)


@pytest.mark.parametrize("size", [(897, 603), (1365, 2048), (1001, 999), (257, 4001)], ids=str)
@pytest.mark.parametrize("least", [32, 100, 224, 448])
def test_pixels_are_pillows_where_libjpeg_scales(size: tuple[int, int], least: int) -> None:
    ours, pillows = both(encoded(photo(size, seed=2)), least)
    assert pillows.shape < (size[1], size[0], 3) or min(size) < 2 * least
    np.testing.assert_array_equal(ours, pillows)


def test_of_several_images_in_a_file_it_takes_the_first() -> None:
    first, second = photo((300, 200), seed=3), photo((100, 100), seed=4)
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    ours, pillows = both(data)
    np.testing.assert_array_equal(ours, pillows)


@pytest.mark.parametrize(
    "data",
    [encoded(photo((64, 64), seed=5).convert("CMYK")), encoded(photo((64, 64), seed=5), "PNG")],
    ids=["CMYK", "PNG"],
)
def test_what_is_no_ordinary_jpeg_is_left_to_pillow(data: bytes) -> None:
    assert decode_jpeg(data, Image.open(io.BytesIO(data))) is None


def test_a_damaged_file_ends_as_it_does_with_pillow() -> None:
    # given files that are cut off, or have a few bytes changed
    chance = random.Random(6)
    sound = encoded(photo((160, 120), seed=6))
    header = sound.index(b"\xff\xda")
    refused = 0
    for _ in range(300):
        damaged = bytearray(
            sound[: chance.choice((len(sound), chance.randrange(header, len(sound))))]
        )
        for _ in range(chance.randrange(4)):
            damaged[chance.randrange(header, len(damaged))] = chance.randrange(256)
        try:
            ours, pillows = both(bytes(damaged))
        except OSError:  # Pillow's
            refused += 1
            with contextlib.suppress(OSError):
                assert decode_jpeg(bytes(damaged), Image.open(io.BytesIO(damaged))) is None
            continue
        # then what simplejpeg takes, it reads as Pillow does
        if ours is not None:
            np.testing.assert_array_equal(ours, pillows)
    assert refused > 50


@pytest.mark.parametrize("orientation", range(1, 9))
def test_without_simplejpeg_pixels_are_the_same(
    orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(photo((900, 611), seed=7), exif=oriented(orientation))
    fast = Preprocessor(ImageTransform(224)).from_bytes(data)
    monkeypatch.setattr("clip_engine.images.jpeg.simplejpeg", None)
    assert Preprocessor(ImageTransform(224)).from_bytes(data).equal(fast)
