"""Preprocessing against torchvision's pipeline: all modes of Pillow, and what the tower sees."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from support.image_zoo import photo, write_zoo
from support.oracles import fill
from support.tiny_clip import tokenizer
from torch import Tensor
from torchvision import transforms

from clip_engine.engine import Engine, ModelIdentity
from clip_engine.model import CLIP, CLIPConfig
from clip_engine.preprocess import Mode, Preprocessor

R = 224
LARGE = ((4000, 3000), (3000, 4000))  # 12 megapixels
# Modes that Pillow can resample and turn into RGB by itself: there the reference is the oracle.
REFERENCE_MODES = ("RGB", "RGBA", "L", "LA", "CMYK", "YCbCr", "HSV", "RGBX")
# There it is not: Pillow takes nearest neighbours of palettes and bits, and clips what is wider
# than 8 bits at 255. The oracle gets the image as it would be with 8 bits a channel.
OTHER_MODES = ("1", "P", "PA", "I", "I;16", "I;16L", "I;16B", "F")


def compose() -> transforms.Compose:
    """The preprocessing of the CLIP paper's code, up to values in [0, 1]."""
    bicubic = transforms.InterpolationMode.BICUBIC
    return transforms.Compose(
        [
            transforms.Resize(R, bicubic),
            transforms.CenterCrop(R),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
        ]
    )


def off(pixels: Tensor, image: Image.Image) -> float:
    """Largest difference to the reference, in 1/255."""
    return float((pixels.float() - compose()(image) * 255).abs().max())


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


@pytest.mark.parametrize("mode", REFERENCE_MODES)
def test_a_mode_that_the_reference_resamples_comes_out_as_it_does(mode: str) -> None:
    image = photo((333, 250), seed=3).convert(mode)
    assert off(Preprocessor(R, "exact").from_image(image), image) <= 1


@pytest.mark.parametrize("mode", OTHER_MODES)
def test_any_other_mode_comes_out_as_the_same_picture_of_8_bits_a_channel(mode: str) -> None:
    image, plain = in_mode(mode)
    assert off(Preprocessor(R, "exact").from_image(image), plain) <= 1


def test_every_mode_of_pillow_is_accounted_for() -> None:
    # given: of these, no file is opened in the first three, and RGB from LAB needs a colour profile
    left_out = {"La", "RGBa", "I;16N", "LAB"}
    assert {*REFERENCE_MODES, *OTHER_MODES} | left_out >= set(Image.MODES)


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
    return Engine(
        model,
        identity=ModelIdentity("random", ""),
        tokenizer=tokenizer(),
        preprocessor=Preprocessor(R),
        device=torch.device("cpu"),
        buckets=(8,),
    )


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Files of all formats, strips among them, and photographs of 12 megapixels."""
    files = [path.read_bytes() for path in write_zoo(tmp_path_factory.mktemp("zoo"), 36, seed=8)]
    for size in LARGE:
        file = io.BytesIO()
        photo(size, seed=9).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


@pytest.fixture(scope="module")
def prepared(zoo: list[bytes]) -> dict[Mode, list[Tensor]]:
    """The same images in both modes."""
    modes: tuple[Mode, ...] = ("exact", "fast")
    return {mode: [Preprocessor(R, mode).from_bytes(file) for file in zoo] for mode in modes}


def test_the_fast_mode_is_within_a_third_of_a_level_of_the_exact_one(
    prepared: dict[Mode, list[Tensor]],
) -> None:
    # the exact one being the reference's own on these files (test_preprocess.py)
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
