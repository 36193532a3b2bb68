"""Preprocessing against torchvision's pipeline: all modes of Pillow, and what the tower sees."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.image_files import encoded
from support.image_zoo import photo, write_zoo
from support.oracles import fill
from support.tiny_clip import engine_around
from torch import Tensor
from torchvision import transforms

from clip_engine.engine import Engine
from clip_engine.images.transform import ImageTransform
from clip_engine.model import CLIP, CLIPConfig
from clip_engine.preprocess import Mode, Preprocessor

R = 224
EXACT, FAST = Preprocessor(ImageTransform(R), "exact"), Preprocessor(ImageTransform(R), "fast")
LARGE = ((4000, 3000), (3000, 4000))  # 12 megapixels
# Modes that Pillow can resample and turn into RGB by itself: there the reference is the oracle.
REFERENCE_MODES = ("RGB", "RGBA", "L", "LA", "CMYK", "YCbCr", "HSV", "RGBX")
# There it is not: Pillow takes nearest neighbours of palettes and bits, and clips what is wider
# than 8 bits at 255. The oracle gets the image as it would be with 8 bits a channel.
OTHER_MODES = ("1", "P", "PA", "I", "I;16", "I;16L", "I;16B", "F")


def levels_off(pixels: Tensor, image: Image.Image) -> Tensor:
    """Absolute difference to what the CLIP paper's code makes of an image, in 1/255."""
    compose = transforms.Compose(
        [
            transforms.Resize(R, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(R),
            lambda picture: picture.convert("RGB"),
            transforms.ToTensor(),  # in [0, 1]
        ]
    )
    return (pixels.float() - compose(image) * 255).abs()


def in_mode(mode: str) -> tuple[Image.Image, Image.Image]:
    """A photograph in this mode, and the same with 8 bits a channel."""
    grey = photo((300, 400), seed=7).convert("L")
    if mode.startswith("I;16"):
        wide = np.asarray(grey, ">u2" if mode == "I;16B" else "<u2") * 257
        return Image.frombytes(mode, grey.size, wide.tobytes()), grey
    if mode == "I":
        return grey.convert("I"), grey
    if mode == "F":
        return grey.convert("F"), grey
    image = photo((300, 400), seed=7).convert("P") if mode == "PA" else photo((300, 400), seed=7)
    image = image.convert(mode)
    return image, image.convert("RGBA" if mode == "PA" else "RGB")


# --- each mode of Pillow ---


@pytest.mark.parametrize("mode", REFERENCE_MODES)
@pytest.mark.parametrize(
    "size", [(224, 224), (225, 224), (223, 500), (500, 375), (333, 250), (7, 9), (1, 1), (448, 447)]
)
def test_exact_mode_is_the_reference_in_each_mode_that_it_resamples(
    mode: str, size: tuple[int, int]
) -> None:
    image = photo(size, seed=1).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(photo(size, seed=2).convert("L"))
    assert levels_off(EXACT.from_image(image), image).max() == 0


@pytest.mark.parametrize("mode", OTHER_MODES)
def test_any_other_mode_comes_out_as_the_same_picture_of_8_bits_a_channel(mode: str) -> None:
    image, plain = in_mode(mode)
    assert levels_off(EXACT.from_image(image), plain).max() <= 1


def test_every_mode_of_pillow_is_accounted_for() -> None:
    # given: of these, no file is opened in the first three, and RGB from LAB needs a colour profile
    left_out = {"La", "RGBa", "I;16N", "LAB"}
    assert {*REFERENCE_MODES, *OTHER_MODES} | left_out >= set(Image.MODES)


# --- files ---


def test_exact_mode_is_the_reference_on_every_picture_of_the_zoo(tmp_path: Path) -> None:
    # given images of 9 formats, but for those whose modes the reference resamples otherwise
    compared = 0
    for path in write_zoo(tmp_path, 27, seed=5):
        data = path.read_bytes()
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.mode in REFERENCE_MODES:
            # then
            assert levels_off(EXACT.from_bytes(data), image).max() == 0, path.name
            compared += 1
    assert compared >= 18


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (2000, 3), (3, 2000), (1, 1)])
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_strips_come_out_as_the_reference_has_them(size: tuple[int, int], mode: Mode) -> None:
    image = photo(size, seed=3)
    off = levels_off(Preprocessor(ImageTransform(R), mode).from_bytes(encoded(image, "PNG")), image)
    assert off.mean() <= (0 if mode == "exact" else 0.35)


@pytest.mark.parametrize(
    "size", [(320, 240), (500, 375), (375, 500), (449, 448), (1920, 1280), (4000, 3000)]
)
def test_fast_mode_is_within_a_third_of_a_level_on_photographs(size: tuple[int, int]) -> None:
    data = encoded(photo(size, seed=size[0]), quality=90)
    assert levels_off(FAST.from_bytes(data), Image.open(io.BytesIO(data))).mean() <= 0.35


def test_an_mpo_of_a_stereo_camera_is_read_as_jpeg() -> None:
    left, right = photo((80, 60), seed=1), photo((80, 60), seed=2)
    data = encoded(left, "MPO", save_all=True, append_images=[right], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert levels_off(FAST.from_bytes(data), Image.open(io.BytesIO(data))).mean() <= 0.35


# --- what the tower sees ---


def tower() -> Engine:
    """A ViT-S/32 image tower with random weights, behind a text tower of no matter."""
    config = CLIPConfig(
        embed_dim=384,
        image_resolution=R,
        vision_layers=12,
        vision_width=384,
        vision_patch_size=32,
        transformer_width=64,
        transformer_layers=1,
    )
    model = CLIP(config).eval().requires_grad_(requires_grad=False)
    fill(model, seed=11)
    return engine_around(model, buckets=(8,))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Files of all formats, strips among them, and photographs of 12 megapixels."""
    files = [path.read_bytes() for path in write_zoo(tmp_path_factory.mktemp("zoo"), 36, seed=8)]
    return files + [encoded(photo(size, seed=9), quality=90) for size in LARGE]


@pytest.fixture(scope="module")
def prepared(zoo: list[bytes]) -> dict[Mode, list[Tensor]]:
    """The same images in both modes."""
    modes: tuple[Mode, ...] = ("exact", "fast")
    return {
        mode: [Preprocessor(ImageTransform(R), mode).from_bytes(file) for file in zoo]
        for mode in modes
    }


def test_the_fast_mode_is_within_a_third_of_a_level_of_the_exact_one(
    prepared: dict[Mode, list[Tensor]],
) -> None:
    # the exact one being the reference's own on these files, as tested above
    pairs = zip(prepared["exact"], prepared["fast"], strict=True)
    off = [float((exact.float() - fast.float()).abs().mean()) for exact, fast in pairs]
    assert max(off) <= 0.35, off
    assert max(off) > 0  # or else fast mode would not be what is compared


def test_the_tower_sees_no_difference_between_the_two_modes(
    prepared: dict[Mode, list[Tensor]],
) -> None:
    # given every third image, the large one among them
    engine = tower()
    exact, fast = (engine.encode_pixels(prepared[mode][1::3]) for mode in ("exact", "fast"))
    cosines = (exact * fast).sum(dim=-1)
    assert cosines.min() >= 0.99999, cosines.sort()
