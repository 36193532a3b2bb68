"""Turning an image upright: as Pillow does it, before or after it is resized."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from support.image_files import encoded, oriented, stored_turned
from support.image_zoo import photo

from clip_engine.images.orientation import NONE, TURNS
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Mode, Preprocessor


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(33, 20), (20, 33), (34, 20), (21, 21)])
def test_pixels_are_turned_as_pillow_turns_the_picture(
    orientation: int, size: tuple[int, int]
) -> None:
    image = photo(size, seed=orientation)
    turn = TURNS.get(orientation, NONE)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    upright = torch.from_numpy(np.array(turn.upright(image))).permute(2, 0, 1)
    assert torch.equal(turn.upright_pixels(pixels), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("excess", range(4))
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_the_crop_of_a_rotated_picture_is_that_of_the_upright_one(
    orientation: int, excess: int, mode: Mode
) -> None:
    # given an image that loses this many columns, an odd number on one side more than the other
    upright = photo((16 + excess, 16), seed=excess)
    # then
    turned = Preprocessor(ImageTransform(16), mode).from_bytes(
        stored_turned(upright, orientation, "PNG")
    )
    assert torch.equal(turned, Preprocessor(ImageTransform(16), mode).from_image(upright))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_rotated_picture_comes_out_upright_in_every_format(orientation: int, kind: str) -> None:
    # given an image with a red top left corner, stored turned
    upright = Image.new("RGB", (64, 48), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 24, 24))
    options = {"lossless": True} if kind == "WEBP" else {}
    # when
    pixels = Preprocessor(ImageTransform(48), "exact").from_bytes(
        stored_turned(upright, orientation, kind, **options)
    )
    # then the corner is where it belongs: 8 columns of it are cropped away
    red = (pixels[0] > 128) & (pixels[2] < 128)
    assert red[:20, :12].all()
    assert not red[28:].any()
    assert not red[:, 20:].any()


# --- metadata that are broken ---


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_counts_as_none(orientation: int) -> None:
    image = photo((40, 30), seed=1)
    data = encoded(image, "PNG", exif=oriented(orientation))
    assert torch.equal(
        Preprocessor(ImageTransform(224)).from_bytes(data),
        Preprocessor(ImageTransform(224)).from_image(image),
    )


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of what is broken
def test_a_rotated_picture_with_broken_metadata_is_rotated_all_the_same() -> None:
    # given a JPEG whose maker entry claims a type that its value isn't of
    exif = oriented(6)
    exif[ExifTags.Base.Make] = "Maker"
    good = encoded(photo((60, 40), seed=4), exif=exif, quality=95)
    entry = struct.pack(">HH", ExifTags.Base.Make, 2)
    assert (b"Exif\0\0MM" in good, good.count(entry)) == (True, 1)
    # when the type says "rational" instead of "text"
    bad = good.replace(entry, struct.pack(">HH", ExifTags.Base.Make, 5))
    # then
    assert torch.equal(
        Preprocessor(ImageTransform(224)).from_bytes(bad),
        Preprocessor(ImageTransform(224)).from_bytes(good),
    )


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of what is broken
def test_metadata_that_make_no_sense_at_all_count_as_none() -> None:
    image = photo((60, 40), seed=4)
    plain = encoded(image, quality=95)
    bad = encoded(image, quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert torch.equal(
        Preprocessor(ImageTransform(224)).from_bytes(bad),
        Preprocessor(ImageTransform(224)).from_bytes(plain),
    )
