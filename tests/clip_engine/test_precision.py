"""What the default precision of each device does to the answers of a model with trained weights."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from demo_model.world.draw import draw_scene
from demo_model.world.scenes import VALUES, Scene, all_scenes
from torch import Tensor

from clip_engine import Engine, load_engine
from clip_engine.precision import default_precision

PICTURES = 48
LABELS = [f"{colour} {shape}" for colour in VALUES["colour"] for shape in VALUES["shape"]]


def probabilities(engine: Engine, scenes: Sequence[Scene]) -> Tensor:
    """Of all labels but the right one, which would leave nothing to the others: `[B, L]`."""
    size = (engine.preprocessor.resolution,) * 2
    pixels = [engine.prepare(draw_scene(scene, size, seed=i)) for i, scene in enumerate(scenes)]
    texts = engine.labels.get(LABELS, ("a photo of a {}.",))
    logits = engine.model.logit_scale.exp() * engine.encode_pixels(pixels) @ texts.T
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
