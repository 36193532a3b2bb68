"""Scaled decoding: libjpeg gives whole pixels, of which the image may fill the last in part."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from PIL import Image
from support.image_files import encoded, oriented
from support.image_zoo import photo

from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Mode, Preprocessor

R = 224
MODES: tuple[Mode, ...] = ("exact", "fast")
# A half, quarter or eighth of these is no whole number, so a scaled decode is rounded up.
ODD_SIZES = ((2048, 1365), (1365, 2048), (513, 341), (259, 257), (515, 517), (1000, 999))


@cache
def checks(width: int, height: int) -> Image.Image:
    """Black and white, with edges as hard as pixels allow."""
    step = min(width, height) // 37
    y, x = np.mgrid[:height, :width]
    black_or_white = 255 * ((x // step + y // step) % 2)
    return Image.fromarray(black_or_white.astype(np.uint8)).convert("RGB")


def resolution_for(size: tuple[int, int]) -> int:
    """One at which an image of this size is decoded at a half to an eighth of it."""
    return R if min(size) > 1000 else 32


def test_fast_mode_decodes_a_large_jpeg_at_a_fraction_of_its_size() -> None:
    # given an image whose fine grain a scaled decode averages before Pillow resamples
    grain = np.random.default_rng(0).integers(0, 256, (1800, 1800), dtype=np.uint8)
    data = encoded(Image.fromarray(grain), quality=95)
    # then: had it decoded in full, the two modes would differ by rounding only
    exact, fast = (Preprocessor(ImageTransform(R), mode).from_bytes(data) for mode in MODES)
    assert (exact.float() - fast.float()).abs().max() > 3


@pytest.mark.parametrize("size", ODD_SIZES)
def test_fast_mode_is_within_a_third_of_a_level_where_the_scaled_size_is_rounded(
    size: tuple[int, int],
) -> None:
    data = encoded(photo(size, seed=size[0]), quality=95)
    exact, fast = (
        Preprocessor(ImageTransform(resolution_for(size)), mode).from_bytes(data) for mode in MODES
    )
    assert (exact.float() - fast.float()).abs().mean() <= 0.35


@pytest.mark.parametrize("size", ODD_SIZES)
def test_fast_mode_moves_no_edge_where_the_scaled_size_is_rounded(size: tuple[int, int]) -> None:
    # given edges that count as 20 levels in the mean if they are a pixel off
    data = encoded(checks(*size), quality=95, subsampling=0)
    exact, fast = (
        Preprocessor(ImageTransform(resolution_for(size)), mode).from_bytes(data) for mode in MODES
    )
    assert (exact.float() - fast.float()).abs().mean() <= 2.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(513, 341), (341, 513), (259, 257), (1037, 65)])
@pytest.mark.parametrize("colours", ["RGB", "CMYK"])
def test_a_rotated_picture_keeps_its_edges_where_the_scaled_size_is_rounded(
    orientation: int, size: tuple[int, int], colours: str
) -> None:
    # given an image that torch resizes, or, in CMYK or as a strip, Pillow
    image = photo(size, seed=7).convert(colours)
    data = encoded(image, quality=95, exif=oriented(orientation))
    # when
    exact, fast = (Preprocessor(ImageTransform(16), mode).from_bytes(data) for mode in MODES)
    # then
    off = (exact.float() - fast.float()).abs()
    assert off.mean() <= 0.6
    assert off.max() <= 8
