"""Measures the demo model: on what it never saw, by question, template and kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor

from clip_engine.demo.captions import ONE, label
from clip_engine.demo.scenes import AXES, COUNTS, POSITIONS, VALUES, Scene, all_scenes
from clip_engine.engine import Engine
from demo_model.measures import (
    encode_scenes,
    guess,
    guess_scenes,
    sample_scenes,
    scene_indices,
)

TEMPLATES: Final = (
    "a photo of a {}.",
    "{}",
    "a drawing of {}",
    "a blurry picture of the {}.",  # not among the training templates
    "look, {}!",  # likewise
)
FILES: Final = {
    "96x96, no compression": ((96, 96), None),
    "224x224, no compression": ((224, 224), None),
    "640x480, JPEG quality 90": ((640, 480), 90),
    "640x480, JPEG quality 30": ((640, 480), 30),
    "300x500, JPEG quality 90": ((300, 500), 90),
}
GROUPED_AXES: Final = ("size", "texture", "shape")
# What the labels of a question tell.
QUESTIONS: Final = {
    "shape": ("shape",),
    "colour": ("colour",),
    "texture": ("texture",),
    "size": ("size",),
    "background": ("background",),
    "count": ("count",),
    "position": ("position",),
    "colour and shape": ("colour", "shape"),
    "texture and shape": ("texture", "shape"),
    "count and shape": ("count", "shape"),
    "shape and background": ("shape", "background"),
    "colour, texture and shape": ("colour", "texture", "shape"),
}


@dataclass(frozen=True)
class Score:
    """How often the best label was the true one.

    Attributes:
        top1: Share of pictures, 0 to 1.
        labels: Number of labels to choose from; chance is one in that many.
        pictures: Number of pictures asked about.
    """

    top1: float
    labels: int
    pictures: int


@dataclass(frozen=True)
class Evaluation:
    """All figures of the model card.

    Attributes:
        model_sha256: Of the checkpoint file.
        seed: Of the choice of scenes.
        held_out: Held-out compositions, described in full, among all compositions.
        seen: The same for new pictures of compositions that were trained on.
        attributes: In the first of these, how often each attribute of the best scene is right.
        groups: Like `held_out`, for the scenes with each value of some axes.
        questions: Held-out pictures, short labels, by what the labels tell.
        templates: Like `held_out`, on fewer pictures, by template.
        files: Like `held_out`, on fewer pictures, by size and compression.
    """

    model_sha256: str
    seed: int
    held_out: Score
    seen: Score
    attributes: dict[str, float]
    groups: dict[str, Score]
    questions: dict[str, Score]
    templates: dict[str, Score]
    files: dict[str, Score]

    @classmethod
    def from_figures(cls, figures: dict[str, Any]) -> Evaluation:
        """Rebuild one from `dataclasses.asdict`, as it comes back from JSON."""
        tables = {
            name: {row: Score(**score) for row, score in figures[name].items()}
            for name in ("groups", "questions", "templates", "files")
        }
        scores = {name: Score(**figures[name]) for name in ("held_out", "seen")}
        return cls(**{**figures, **scores, **tables})


def evaluate(engine: Engine, pictures: int, fewer: int, seed: int) -> Evaluation:
    """Measure everything.

    Args:
        engine: With the demo model.
        pictures: Pictures of the main figures and the questions.
        fewer: Pictures of each template and kind of file.
        seed: Of the choice of scenes.
    """
    everything = list(all_scenes())
    scenes = sample_scenes(pictures, seed, held_out=True)
    images = encode_scenes(engine, scenes)
    right = guess_scenes(engine, images, everything) == scene_indices(scenes)  # [B, A]
    seen = sample_scenes(pictures, seed, held_out=False)
    seen_images = encode_scenes(engine, seen)
    return Evaluation(
        model_sha256=engine.identity.digest,
        seed=seed,
        held_out=_all_right(right, len(everything)),
        seen=full_score(engine, seen, seen_images, everything),
        attributes=dict(zip(AXES, _rounded(right.float().mean(dim=0)), strict=True)),
        groups=_groups(right, scenes, len(everything)),
        questions={name: ask(engine, scenes, images, told) for name, told in QUESTIONS.items()},
        templates={
            template: full_score(engine, scenes[:fewer], images[:fewer], everything, template)
            for template in TEMPLATES
        },
        files={
            name: full_score(
                engine, scenes[:fewer], encode_scenes(engine, scenes[:fewer], *file), everything
            )
            for name, file in FILES.items()
        },
    )


def full_score(
    engine: Engine,
    scenes: Sequence[Scene],
    images: Tensor,
    candidates: Sequence[Scene],
    template: str = TEMPLATES[0],
) -> Score:
    """Score whole descriptions: all six attributes have to be right."""
    guessed = guess_scenes(engine, images, candidates, template)
    return _all_right(guessed == scene_indices(scenes), len(candidates))


def ask(engine: Engine, scenes: Sequence[Scene], images: Tensor, told: Sequence[str]) -> Score:
    """Score short labels, which tell some attributes only, in the default template.

    Args:
        engine: With the demo model.
        scenes: B scenes.
        images: Their features, `[B, D]`.
        told: Axes, or `count` or `position`; the latter is asked about single objects only.
    """
    rows = [i for i, s in enumerate(scenes) if "position" not in told or s.count == 1]
    labels = list(
        dict.fromkeys(_label(scene, told) for scene in all_scenes() if _fits(scene, told))
    )
    truth = torch.tensor([labels.index(_label(scenes[i], told)) for i in rows])
    right = guess(engine, images[rows], labels) == truth
    return Score(round(right.float().mean().item(), 4), len(labels), len(rows))


def _groups(right: Tensor, scenes: Sequence[Scene], candidates: int) -> dict[str, Score]:
    groups = {}
    for axis in GROUPED_AXES:
        values = [asdict(scene)[axis] for scene in scenes]
        for value in VALUES[axis]:
            rows = [i for i, other in enumerate(values) if other == value]
            groups[f"{axis}: {value}"] = _all_right(right[rows], candidates)
    return groups


def _fits(scene: Scene, told: Sequence[str]) -> bool:
    return "position" not in told or scene.placement in POSITIONS


def _label(scene: Scene, told: Sequence[str]) -> str:
    meaning = {axis: value for axis, value in asdict(scene).items() if axis in told}
    if "count" in told:
        meaning["placement"] = scene.placement if scene.placement in COUNTS else ONE
    if "position" in told:
        meaning["placement"] = scene.placement
    return label(meaning)


def _all_right(right: Tensor, candidates: int) -> Score:
    return Score(round(right.all(dim=1).float().mean().item(), 4), candidates, len(right))


def _rounded(shares: Tensor) -> list[float]:
    return [round(share, 4) for share in shares.tolist()]
