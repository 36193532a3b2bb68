"""Models of open_clip's families give what open_clip itself makes of the same folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from support.open_clip_configs import FAMILIES
from support.open_clip_families import SavedModel, registered, save_family

from clip_engine.acceleration import PLAIN, Acceleration
from clip_engine.families.library_encoder import LibraryDualEncoder
from clip_engine.families.open_clip import load_open_clip
from clip_engine.inference.image_encoder import ImageEncoder
from clip_engine.inference.text_encoder import TextEncoder
from clip_engine.loader import load_engine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from clip_engine.precision import Precision

CPU = torch.device("cpu")
LABELS = (
    "a photo of a cat.",
    "a photo of a dog.",
    "Ein Foto von einer Kirche, 3 Fenster!",
    "写真 猫",
    "x",
    "a small brown bird",
)


@pytest.fixture(scope="module", params=list(FAMILIES))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    return save_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def ours(saved: SavedModel) -> LibraryDualEncoder:
    return load_open_clip(saved.path, device=CPU)


def noise(encoder: LibraryDualEncoder, count: int = 4) -> list[Tensor]:
    """Images as the preprocessor prepares them, uint8 `[3, R, R]`."""
    generator = torch.Generator().manual_seed(count)
    side = encoder.transform.resolution
    return [
        torch.randint(256, (3, side, side), dtype=torch.uint8, generator=generator)
        for _ in range(count)
    ]


def encode_images(encoder: LibraryDualEncoder, pixels: Sequence[Tensor]) -> Tensor:
    """As the engine does, in one bucket."""
    buckets = (len(pixels),)
    return ImageEncoder(encoder, buckets=buckets, acceleration=Acceleration()).encode(pixels)


@torch.inference_mode()
def their_logits(saved: SavedModel, images: Tensor) -> Tensor:
    texts = saved.tokenizer(list(LABELS))
    image_features = saved.model.encode_image(images, normalize=True)
    text_features = saved.model.encode_text(texts, normalize=True)
    logits = saved.model.logit_scale.exp() * image_features @ text_features.T
    bias: Tensor | float = 0.0 if saved.model.logit_bias is None else saved.model.logit_bias
    return logits + bias


def test_features_and_probabilities_are_those_of_open_clip(
    saved: SavedModel, ours: LibraryDualEncoder
) -> None:
    assert_equal_answers(saved, ours)


@torch.inference_mode()
def assert_equal_answers(saved: SavedModel, ours: LibraryDualEncoder) -> None:
    pixels = noise(ours)
    images, texts = encode_images(ours, pixels), TextEncoder(ours).encode(LABELS)
    their_images = saved.model.encode_image(saved.preprocessed(pixels), normalize=True)
    their_texts = saved.model.encode_text(saved.tokenizer(list(LABELS)), normalize=True)
    torch.testing.assert_close(images, their_images, rtol=0, atol=1e-5)
    torch.testing.assert_close(texts, their_texts, rtol=0, atol=1e-5)
    for features in (images, texts):  # they differ, or a mistake would not show
        assert (features[0] - features[1]).abs().max() > 1e-3

    logits = ours.logit_scale * images @ texts.T + ours.logit_bias
    theirs = their_logits(saved, saved.preprocessed(pixels))
    torch.testing.assert_close(logits.softmax(-1), theirs.softmax(-1), rtol=0, atol=1e-4)
    assert torch.equal(logits.topk(5).indices, theirs.topk(5).indices)
    sigmoid = saved.model.logit_bias is not None
    assert ours.trained_with == ("sigmoid" if sigmoid else "softmax")
    torch.testing.assert_close(logits.sigmoid(), theirs.sigmoid(), rtol=0, atol=1e-4)


def test_an_engine_ranks_images_as_open_clip_does(saved: SavedModel) -> None:
    squares = np.random.default_rng(1).integers(0, 256, (3, 9, 13, 3))
    images = [Image.fromarray(np.kron(each, np.ones((23, 17, 1))).astype("u1")) for each in squares]
    prepare = image_transform_v2(PreprocessCfg(**saved.model.visual.preprocess_cfg), is_train=False)
    engine = load_engine(str(saved.path), preprocessing="exact")
    found = engine.classify(images, LABELS, k=5, template="{}")

    logits = their_logits(saved, torch.stack([prepare(image) for image in images]))
    values, indices = logits.softmax(-1).topk(5)
    assert [[one.index for one in row] for row in found] == indices.tolist()
    chances = torch.tensor([[one.probability for one in row] for row in found])
    torch.testing.assert_close(chances, values, rtol=0, atol=1e-3)


def test_preprocessing_is_that_of_the_config(saved: SavedModel, ours: LibraryDualEncoder) -> None:
    theirs = saved.model.visual.preprocess_cfg
    assert (ours.transform.resolution,) * 2 == tuple(saved.model.visual.image_size)
    assert ours.transform.resize == theirs.get("resize_mode", "shortest")
    assert ours.transform.interpolation == theirs.get("interpolation", "bicubic")
    assert (ours.normalisation.mean, ours.normalisation.std) == (theirs["mean"], theirs["std"])


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_low_precision_stays_close(
    saved: SavedModel, ours: LibraryDualEncoder, precision: Precision
) -> None:
    low = load_open_clip(saved.path, device=CPU, precision=precision)
    pixels = noise(ours)
    cosines = (encode_images(low, pixels) * encode_images(ours, pixels)).sum(dim=-1)
    assert cosines.min() > (0.999 if precision == "float16" else 0.99)
    texts = TextEncoder(low).encode(LABELS)
    assert torch.equal(texts, TextEncoder(ours).encode(LABELS))  # always in float32


def test_an_image_does_not_depend_on_the_others_of_its_batch(ours: LibraryDualEncoder) -> None:
    first, *others = noise(ours, 4)
    together = encode_images(ours, [first, *others])
    assert torch.equal(together[0], encode_images(ours, [first, *others[::-1]])[0])
    black = [torch.zeros_like(first)] * 3
    assert torch.equal(together[0], encode_images(ours, [first, *black])[0])


def test_threads_encode_at_the_same_time(saved: SavedModel) -> None:
    encoder = load_open_clip(saved.path, device=CPU)  # new, so that the first calls meet
    pixels = noise(encoder, 8)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: encode_images(encoder, [image]), pixels))
    alone = torch.cat([encode_images(encoder, [image]) for image in pixels])
    torch.testing.assert_close(torch.cat(found), alone, rtol=0, atol=1e-6)


def test_image_tokens_are_those_of_the_third_stage_or_of_all_layers(
    saved: SavedModel, ours: LibraryDualEncoder
) -> None:
    widths: list[int] = []
    for module in saved.model.visual.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_hook(lambda _m, _i, output: widths.append(output.shape[1]))
    pixels = saved.preprocessed(noise(ours, 1))
    with torch.inference_mode():
        saved.model.visual(pixels)
    side = ours.transform.resolution // 16
    assert ours.image_tokens in {side * side, side * side + 1}
    if hasattr(saved.model.visual, "grid_size"):
        assert ours.image_tokens in widths


@pytest.mark.parametrize("family", ["mobileclip2", "mobileclip2-s3"])
def test_branches_of_convolutions_are_merged_unless_acceleration_is_off(
    family: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    saved = save_family(family, tmp_path_factory.mktemp(family))
    plain = load_open_clip(saved.path, device=CPU, acceleration=PLAIN)
    merged = load_open_clip(saved.path, device=CPU)
    assert layers(merged) < layers(plain)
    pixels = noise(plain)
    torch.testing.assert_close(
        encode_images(merged, pixels), encode_images(plain, pixels), rtol=0, atol=1e-5
    )


def layers(encoder: LibraryDualEncoder) -> int:
    return sum(isinstance(m, torch.nn.Conv2d) for m in encoder.image_tower.modules())


# --- real sizes ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("ViT-B-16-SigLIP", "siglip"),
        ("ViT-B-32-SigLIP2-256", "siglip2"),
        ("ViT-B-16-quickgelu", "metaclip"),  # MetaCLIP's and DFN's
        ("EVA02-B-16", "eva02"),
        ("MobileCLIP2-S0", "mobileclip2"),
        ("PE-Core-S-16-384", "pe-core"),
        ("convnext_base_w", "convnext"),
        ("coca_ViT-B-32", "coca"),
        ("ViTamin-S", "vitamin"),
        ("xlm-roberta-base-ViT-B-32", "xlm-roberta"),
    ],
)
def test_real_architectures_give_what_open_clip_gives(name: str, like: str, tmp_path: Path) -> None:
    saved = save_family(registered(name, like), tmp_path)
    ours = load_open_clip(saved.path, device=CPU)
    assert_equal_answers(saved, ours)
    pixels = noise(ours, 2)
    expected = encode_images(ours, pixels)
    del saved, ours
    low = load_open_clip(tmp_path, device=CPU, precision="bfloat16")
    assert (encode_images(low, pixels) * expected).sum(dim=-1).min() > 0.99
