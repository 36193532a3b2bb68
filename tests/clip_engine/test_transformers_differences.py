"""What of transformers' preprocessing is ours, and what isn't (docs/models.md lists it)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.image_files import encoded
from support.image_zoo import photo
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPTokenizer,
    SiglipImageProcessor,
    SiglipImageProcessorPil,
)

from benchmarks.bench.hugging_face_tokenizer import write_tokenizer
from clip_engine.images.transform import ImageTransform, Interpolation
from clip_engine.preprocess import Preprocessor
from clip_engine.tokenizer import Tokenizer

R = 56
# Without rescaling and normalisation processors return levels.
LEVELS = {"do_rescale": False, "do_normalize": False}
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def levels(processor: Callable[..., Any], image: Image.Image) -> Tensor:
    """A processor's pixels `[3, R, R]`, in levels."""
    [pixels] = processor(image, return_tensors="pt")["pixel_values"]
    return torch.from_numpy(np.asarray(pixels)).int()


def ours(transform: ImageTransform, image: Image.Image) -> Tensor:
    return Preprocessor(transform, "exact").from_bytes(encoded(image, "PNG")).int()


@pytest.mark.parametrize("size", [(200, 133), (133, 200), (57, 56), (40, 31), (9, 400), (400, 9)])
@pytest.mark.parametrize("interpolation", sorted(RESAMPLING))
def test_squashed_pixels_are_those_of_siglips_processors(
    interpolation: Interpolation, size: tuple[int, int]
) -> None:
    image = photo(size, seed=size[0])
    squashed = ours(ImageTransform(R, "squash", interpolation), image)
    options = {"size": {"height": R, "width": R}, "resample": RESAMPLING[interpolation], **LEVELS}
    # then: transformers has two, by Pillow and by torchvision, a level or two apart on strips
    assert torch.equal(squashed, levels(SiglipImageProcessorPil(**options), image))
    off = (squashed - levels(SiglipImageProcessor(**options), image)).abs().max()
    assert off <= (2 if 9 in size else 1)


@pytest.mark.parametrize(("width", "shift"), [(80, 0), (81, 0), (82, 0), (83, 1), (85, 0), (87, 1)])
def test_clips_processor_crops_a_pixel_aside_for_every_other_odd_excess(
    width: int, shift: int
) -> None:
    # given an image whose shortest side has R pixels already, so that it is only cropped
    image = photo((width, R), seed=width)
    processor = CLIPImageProcessor(
        size={"shortest_edge": R}, crop_size={"height": R, "width": R}, **LEVELS
    )
    theirs, expected = levels(processor, image), ours(ImageTransform(R), image)
    # then theirs begins further left
    assert torch.equal(theirs[:, :, shift:], expected[:, :, : R - shift])
    assert torch.equal(theirs, expected) == (shift == 0)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a photo of a cat.", True),
        ("Café, it's 10,000 m²...", True),
        ("salt &amp; pepper", False),
        ("ﬁne", False),
        ("\uff23\uff21\uff34", False),
        ("a dog\u2019s ball", False),
    ],
)
def test_clips_tokenizer_of_transformers_cleans_less(text: str, same: bool, tmp_path: Path) -> None:  # noqa: FBT001
    write_tokenizer(tmp_path)
    theirs = CLIPTokenizer.from_pretrained(tmp_path)(text)["input_ids"]
    row = Tokenizer().tokenize([text])[0].tolist()
    assert (row[: len(theirs)] == theirs) == same
