"""Turning an image upright: as Pillow does it, before or after it is resized."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from support.image_zoo import photo

from clip_engine.images.orientation import NONE, TURNS
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
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(undo[orientation])
    # then
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    turned = Preprocessor(16, mode).from_bytes(file.getvalue())
    assert torch.equal(turned, Preprocessor(16, mode).from_image(upright))
