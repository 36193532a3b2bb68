"""Every resize mode and interpolation, against open_clip's own evaluation transforms."""

from __future__ import annotations

from itertools import product

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from support.image_files import encoded, stored_turned
from support.image_zoo import photo
from torch import Tensor

from clip_engine.images.geometry import place, resized_size
from clip_engine.images.orientation import TURNS
from clip_engine.images.transform import ImageTransform, Interpolation, ResizeMode
from clip_engine.preprocess import Preprocessor

R = 56
MODES: tuple[ResizeMode, ...] = ("shortest", "longest", "squash")
INTERPOLATIONS: tuple[Interpolation, ...] = ("bicubic", "bilinear")
ALL = list(product(MODES, INTERPOLATIONS))
# Odd and even excess, both ways round; smaller than the model's input; strips.
SIZES = (
    (200, 133),
    (133, 200),
    (113, 112),
    (40, 31),
    (56, 56),
    (57, 56),
    (9, 400),
    (400, 9),
    (1, 3),
)


def theirs(image: Image.Image, transform: ImageTransform) -> Tensor:
    """open_clip's pixels, uint8 `[3, R, R]`."""
    config = PreprocessCfg(
        size=transform.resolution,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        interpolation=transform.interpolation,
        resize_mode=transform.resize,
        fill_color=transform.fill,
    )
    return (image_transform_v2(config, is_train=False)(image) * 255).round().to(torch.uint8)


def levels_off(ours: Tensor, expected: Tensor) -> int:
    return int((ours.int() - expected.int()).abs().max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("resize", "interpolation"), ALL)
def test_exact_pixels_are_open_clips(
    resize: ResizeMode, interpolation: Interpolation, size: tuple[int, int]
) -> None:
    transform = ImageTransform(R, resize, interpolation)
    image = photo(size, seed=size[0])
    ours = Preprocessor(transform, "exact").from_bytes(encoded(image, "PNG"))
    assert ours.shape == (3, R, R)
    assert levels_off(ours, theirs(image, transform)) <= 1


@pytest.mark.parametrize("colours", ["L", "RGBA", "LA", "CMYK", "P", "I;16"])
@pytest.mark.parametrize(
    ("resize", "interpolation", "fill"),
    [
        ("shortest", "bilinear", 0),
        ("longest", "bicubic", 0),
        ("longest", "bilinear", 127),
        ("squash", "bicubic", 0),
        ("squash", "bilinear", 0),
    ],
)
def test_images_that_are_not_rgb_are_resized_as_open_clip_does(
    colours: str, resize: ResizeMode, interpolation: Interpolation, fill: int
) -> None:
    transform = ImageTransform(R, resize, interpolation, fill)
    grey = photo((120, 77), seed=1).convert("L")
    if colours == "I;16":
        wide = np.asarray(grey, "<u2") * 257
        image = Image.frombytes(colours, grey.size, wide.tobytes())
    else:
        image = photo((120, 77), seed=1).convert(colours)
    # open_clip clips wide levels, takes nearest neighbours of palettes, and pads in ink
    of_8_bits = {"I;16": grey, "P": image.convert("RGB")}.get(colours, image)
    expected = of_8_bits.convert("RGB") if (colours, resize) == ("CMYK", "longest") else of_8_bits
    ours = Preprocessor(transform, "exact").from_image(image)
    assert levels_off(ours, theirs(expected, transform)) <= 1


def test_padding_of_a_cmyk_image_is_grey_of_the_models_level() -> None:
    # where open_clip pads in CMYK, whose zero is white
    image = Image.new("CMYK", (80, 40), (0, 255, 255, 0))
    pixels = Preprocessor(ImageTransform(R, "longest", fill=9)).from_bytes(encoded(image, "TIFF"))
    assert pixels[:, 0].unique().tolist() == [9]
    assert pixels[:, R // 2, R // 2].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("orientation", sorted(TURNS))
@pytest.mark.parametrize("resize", MODES)
def test_a_turned_image_gives_the_pixels_of_the_upright_one(
    resize: ResizeMode, orientation: int, mode: str
) -> None:
    # given an odd rest, whose larger half would change sides
    transform = ImageTransform(R, resize)
    upright = photo((113, 200), seed=3)
    data = stored_turned(upright, orientation, "PNG")
    # then
    ours = Preprocessor(transform, mode).from_bytes(data)  # type: ignore[arg-type]
    assert levels_off(ours, theirs(upright, transform)) <= (1 if mode == "exact" else 3)


@pytest.mark.parametrize("size", [(31, 200), (200, 31), (200, 133), (40, 31)])
@pytest.mark.parametrize(("resize", "interpolation"), ALL)
def test_fast_pixels_are_off_by_rounding_only_where_nothing_is_scaled_while_decoding(
    resize: ResizeMode, interpolation: Interpolation, size: tuple[int, int]
) -> None:
    # given independent pixels, of which the order of the two passes makes up to 20 levels
    levels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    data = encoded(Image.fromarray(levels), "PNG")
    exact, fast = (
        Preprocessor(ImageTransform(R, resize, interpolation), mode).from_bytes(data)
        for mode in ("exact", "fast")
    )
    assert levels_off(fast, exact) <= 2


@pytest.mark.parametrize("size", [(2048, 1365), (1365, 2048), (515, 517), (1000, 299), (640, 480)])
@pytest.mark.parametrize(("resize", "interpolation"), ALL)
def test_fast_pixels_of_a_jpeg_are_within_a_third_of_a_level_in_the_mean(
    resize: ResizeMode, interpolation: Interpolation, size: tuple[int, int]
) -> None:
    data = encoded(photo(size, seed=size[1]), quality=95)
    exact, fast = (
        Preprocessor(ImageTransform(R, resize, interpolation), mode).from_bytes(data)
        for mode in ("exact", "fast")
    )
    assert (exact.float() - fast.float()).abs().mean() <= 0.35


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("resize", MODES)
def test_a_strip_gives_a_square_in_bounded_memory(resize: ResizeMode, mode: str) -> None:
    data = encoded(Image.new("RGB", (1, 60_000), (200, 30, 30)), "PNG")
    preprocessor = Preprocessor(ImageTransform(R, resize, fill=1), mode)  # type: ignore[arg-type]
    pixels = preprocessor.from_bytes(data)
    assert pixels.shape == (3, R, R)
    assert pixels[:, R // 2, (R - 1) // 2].tolist() == [200, 30, 30]


def test_placements_by_hand() -> None:
    # an odd rest of cropping rounds to even, as torchvision's; of padding, down, as open_clip's
    assert place((113, 56), ImageTransform(56)).kept == (28, 0, 84, 56)
    assert place((113, 56), ImageTransform(56), mirror_x=True).kept == (29, 0, 85, 56)
    assert place((200, 133), ImageTransform(56, "longest")) == ((56, 37), (0, 0, 56, 37), (0, 9))
    assert place((200, 133), ImageTransform(56, "longest"), mirror_y=True).padding == (0, 10)
    assert resized_size((1, 60_000), ImageTransform(56, "longest")) == (1, 56)


def test_open_clip_knows_no_other_mode_or_interpolation() -> None:
    with pytest.raises(AssertionError):
        open_clip.image_transform(56, is_train=False, resize_mode="other")
    with pytest.raises(AssertionError):
        open_clip.image_transform(56, is_train=False, interpolation="lanczos")


def test_squash_keeps_no_aspect_ratio() -> None:
    halves = np.zeros((10, 40, 3), dtype=np.uint8)
    halves[:, 20:] = 255
    pixels = Preprocessor(ImageTransform(R, "squash")).from_image(Image.fromarray(halves))
    assert pixels[:, :, : R // 2 - 4].max() <= 1
    assert pixels[:, :, R // 2 + 4 :].min() >= 254
