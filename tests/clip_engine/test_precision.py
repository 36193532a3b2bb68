"""What lower precision does to features, and to the answers of a model with trained weights."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support.image_zoo import pixels_of
from support.tiny_clip import tiny_engine
from torch import Tensor

from clip_engine import Engine, load_engine
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import VALUES, Scene, all_scenes
from clip_engine.precision import default_precision

PICTURES = 48
LABELS = [f"{colour} {shape}" for colour in VALUES["colour"] for shape in VALUES["shape"]]


def probabilities(engine: Engine, scenes: Sequence[Scene]) -> Tensor:
    """Of all labels but the right one, which would leave nothing to the others: `[B, L]`."""
    size = (engine.preprocessor.transform.resolution,) * 2
    pixels = [engine.prepare(draw_scene(scene, size, seed=i)) for i, scene in enumerate(scenes)]
    texts = engine.labels.get(LABELS, ("a photo of a {}.",))
    logits = engine.model.logit_scale * engine.encode_pixels(pixels) @ texts.T
    for row, scene in zip(logits, scenes, strict=True):
        row[LABELS.index(f"{scene.colour} {scene.shape}")] = -torch.inf
    return logits.softmax(dim=-1)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_default_of_a_device_changes_no_probability_by_more_than_a_hundredth(
    device: str,
) -> None:
    # given its numbers; they are computed on the CPU, whatever the device
    precision = default_precision(torch.device(device))
    scenes = random.Random(1).sample(list(all_scenes()), PICTURES)
    # when
    exact = probabilities(load_engine("demo", precision="float32"), scenes)
    lower = probabilities(load_engine("demo", precision=precision), scenes)
    # then, among probabilities of which many are neither 0 nor 1
    assert ((exact > 0.1) & (exact < 0.9)).any(dim=-1).sum() > PICTURES / 4
    assert (lower - exact).abs().max() <= 0.01


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_lower_precision_changes_features_a_little_and_leaves_texts_alone(precision: Any) -> None:
    exact, rough = tiny_engine(), tiny_engine(precision=precision)
    pixels = pixels_of(exact, 3)
    features = rough.encode_pixels(pixels)
    cosines = (features * exact.encode_pixels(pixels)).sum(dim=-1)
    assert features.dtype == torch.float32
    assert cosines.min() > 0.99
    assert not torch.equal(features, exact.encode_pixels(pixels))
    assert torch.equal(rough.labels.get(["a"], ("{}",)), exact.labels.get(["a"], ("{}",)))


def test_the_default_precision_is_float16_on_cuda_and_float32_elsewhere() -> None:
    assert default_precision(torch.device("cuda:1")) == "float16"
    assert default_precision(torch.device("cpu")) == "float32"


@pytest.mark.parametrize(
    ("products", "precision"),
    [(torch.bfloat16, "bfloat16"), (torch.float16, "float16"), (torch.float32, "float16")],
)
def test_on_cuda_weights_that_are_stored_in_bfloat16_run_in_it(
    products: torch.dtype, precision: str
) -> None:
    # given weights of products, and those of a norm, which are often stored in float32
    weights = [torch.zeros(8, 8, dtype=products), torch.zeros(8)]
    assert default_precision(torch.device("cuda"), weights) == precision
    assert default_precision(torch.device("cpu"), weights) == "float32"


def test_only_the_image_towers_products_are_stored_in_lower_precision() -> None:
    model = tiny_engine(precision="bfloat16").model.clip
    low = {name for name, weight in model.named_parameters() if weight.dtype == torch.bfloat16}
    assert "visual.transformer.resblocks.0.attn.in_proj_weight" in low
    assert "visual.transformer.resblocks.0.mlp.c_fc.weight" in low
    assert not any("ln_" in name or "positional" in name for name in low)
    assert all(name.startswith("visual.") for name in low)
