"""Held-out pictures of the demo model's world, and what is asked about them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from demo_model.measures import encode_scenes, sample_scenes, seeds_of
from torch import Tensor

from clip_engine.demo.world.captions import label
from clip_engine.demo.world.scenes import COLOURS, SHAPES, VALUES, Scene
from clip_engine.engine import Engine
from clip_engine.scoring.calibration import NONE
from clip_engine.scoring.logits import Logits, logits
from clip_engine.scoring.options import Scoring

# Name of a kind of picture, and its width and height. The model never saw any below 96 pixels, and
# gets one small picture in nine wrong.
SIZES = {"320x240": (320, 240), "24x24": (24, 24)}
TEMPLATES = ("a photo of a {}.",)
COLOURED_SHAPES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
ATTRIBUTES = [
    (axis, value)
    for axis in ("shape", "colour", "texture", "size", "background")
    for value in VALUES[axis]
]


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures of one kind. The even ones fit, the odd ones measure."""

    scenes: list[Scene]
    features: Tensor  # [B, D]


def held_out(engine: Engine, number: int, seed: int) -> dict[str, Pictures]:
    """Draw and encode so many held-out pictures of each kind, of the same scenes."""
    scenes = sample_scenes(number, seed, held_out=True)
    return {
        name: Pictures(scenes, encode_scenes(engine, scenes, size, first_seed=seeds_of(seed)))
        for name, size in SIZES.items()
    }


def right_labels(scenes: list[Scene], labels: list[str]) -> Tensor:
    """Index of each scene's coloured shape among labels; -1 where it is not there."""
    numbers = {text: number for number, text in enumerate(labels)}
    return torch.tensor([numbers.get(f"{s.colour} {s.shape}", NONE) for s in scenes])


def label_splits() -> list[list[str]]:
    """The coloured shapes of every other shape, and the rest: each shape is left out once."""
    return [
        [text for text in COLOURED_SHAPES if text.split()[1] in SHAPES[start::2]]
        for start in (0, 1)
    ]


def attribute_labels() -> list[str]:
    """One label for each value of each attribute, such as `striped` or `grass`."""
    return [label({axis: value}) for axis, value in ATTRIBUTES]


def attributes_shown(scenes: list[Scene]) -> Tensor:
    """Which of these labels are true of each scene, bool `[B, L]`: five of them are."""
    return torch.tensor(
        [[getattr(scene, axis) == value for axis, value in ATTRIBUTES] for scene in scenes]
    )


def logits_of(engine: Engine, features: Tensor, labels: list[str], scoring: Scoring) -> Logits:
    """The logits of a request for these labels."""
    lists = engine.text_lists(labels, TEMPLATES, scoring)
    text = engine.text_features([engine.labels.get(*each) for each in lists])
    return logits(engine.model, features, text, scoring)
