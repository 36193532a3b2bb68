"""Decoding and resizing on a device, here the CPU, against exact mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from support.image_files import encoded, oriented
from support.image_zoo import photo

from benchmarks.gpu import decoding
from clip_engine.images.transform import ImageTransform

CPU = torch.device("cpu")
# With odd and even remainders beside the square, upright, level and smaller than it.
SIZES = ((500, 375), (333, 517), (64, 64), (225, 223), (63, 190), (1003, 667))
DECODERS = decoding.available()


def grain(size: tuple[int, int]) -> Image.Image:
    """Independent levels: the hardest edges there are."""
    levels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3))
    return Image.fromarray(levels.astype(np.uint8))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "transform",
    [
        ImageTransform(224),
        ImageTransform(112, "longest", "bilinear", fill=127),
        ImageTransform(112, "squash"),
    ],
    ids=str,
)
def test_pixels_are_within_two_levels_of_exact_mode(
    decoder: str, transform: ImageTransform
) -> None:
    # given images of several sizes and orientations, in colour and grey, sharp and smooth
    images = [draw for size in SIZES for draw in (photo(size, seed=1), grain(size))]
    images.append(photo((401, 300), seed=2).convert("L"))
    files = [encoded(image, quality=95) for image in images]
    files += [
        encoded(photo((301, 400), seed=turn), exif=oriented(turn), progressive=True)
        for turn in range(1, 9)
    ]
    # when
    off = decoding.difference(files, transform, CPU, decoder)
    # then
    assert off.mean <= 0.05
    assert off.largest <= 2


def test_images_of_one_size_are_resized_as_each_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    images = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        for size in ((90, 60), (60, 91), (90, 60))
    ]
    together = decoding.resize(images, ImageTransform(32))
    alone = [decoding.resize([image], ImageTransform(32)) for image in images]
    assert together.equal(torch.cat(alone))


def test_a_rate_counts_each_image_that_went_through() -> None:
    # given work that notes what it is given
    batches: list[int] = []
    rate = decoding.measure(
        lambda files: batches.append(len(files)), [b"1", b"2", b"3"], CPU, batch=2, seconds=0.01
    )
    # then
    assert set(batches) == {2}
    assert rate.images_per_s > 0
    assert rate.host_ms >= 0
