"""Measures the demo model: on what it never saw, by question, template and kind of file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor

from clip_engine.demo.world.captions import ONE, label
from clip_engine.demo.world.scenes import AXES, COUNTS, POSITIONS, VALUES, Scene, all_scenes
from clip_engine.engine import Engine
from demo_model.measures import (
    encode_scenes,
    guess,
    guess_scenes,
    sample_scenes,
    scene_indices,
    seeds_of,
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
WEAK_SPOT_AXES: Final = ("size", "colour", "texture", "shape")
WEAK_SPOTS: Final = 5
NORMAL_95: Final = 1.959964  # standard deviations that 95 % of a normal distribution lie within
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
        low: Where the 95 % interval of that share begins (Wilson 1927).
        high: Where it ends.
        labels: Number of labels to choose from; chance is one in that many.
        pictures: Number of pictures asked about.
    """

    top1: float
    low: float
    high: float
    labels: int
    pictures: int

    @classmethod
    def of(cls, right: int, labels: int, pictures: int) -> Score:
        """So many of the pictures were right."""
        low, high = wilson(right, pictures)
        return cls(round(right / pictures, 4), round(low, 4), round(high, 4), labels, pictures)


def wilson(right: int, pictures: int) -> tuple[float, float]:
    """The 95 % interval of a share, which holds near 0 and 1 too.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> [round(bound, 4) for bound in wilson(95, 100)]
    [0.8882, 0.9785]
    """
    share, scale = right / pictures, NORMAL_95**2 / pictures
    middle = share + scale / 2
    reach = math.sqrt(share * (1 - share) * scale + scale**2 / 4)
    return (middle - reach) / (1 + scale), (middle + reach) / (1 + scale)


@dataclass(frozen=True)
class WeakSpot:
    """Held-out pictures that are often described wrongly.

    Attributes:
        shows: What they have in common, as a label.
        pictures: How many there were.
        wrong: How many of these got a wrong description.
        mostly_read_as: The wrong values in the commonest of the wrong descriptions.
        times: How many times that one came.
    """

    shows: str
    pictures: int
    wrong: int
    mostly_read_as: str
    times: int


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
        weak_spots: The sizes, colours, textures and shapes with the most wrong descriptions.
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
    weak_spots: list[WeakSpot]
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
        spots = [WeakSpot(**spot) for spot in figures["weak_spots"]]
        return cls(**{**figures, **scores, **tables, "weak_spots": spots})


def evaluate(engine: Engine, pictures: int, fewer: int, seed: int) -> Evaluation:
    """Measure everything.

    Args:
        engine: With the demo model.
        pictures: Pictures of the main figures and the questions.
        fewer: Pictures of each template and kind of file.
        seed: Of the choice of scenes, and of their pictures.
    """
    everything = list(all_scenes())
    scenes = sample_scenes(pictures, seed, held_out=True)
    images = encode_scenes(engine, scenes, first_seed=seeds_of(seed))
    guessed = guess_scenes(engine, images, everything)  # [B, A]
    right = guessed == scene_indices(scenes)  # [B, A]
    seen = sample_scenes(pictures, seed, held_out=False)
    seen_images = encode_scenes(engine, seen, first_seed=seeds_of(seed) + pictures)
    return Evaluation(
        model_sha256=engine.identity.digest,
        seed=seed,
        held_out=_all_right(right, len(everything)),
        seen=full_score(engine, seen, seen_images, everything),
        attributes=dict(zip(AXES, _rounded(right.float().mean(dim=0)), strict=True)),
        groups=_groups(right, scenes, len(everything)),
        weak_spots=weak_spots(scenes, guessed),
        questions={name: ask(engine, scenes, images, axes) for name, axes in QUESTIONS.items()},
        templates={
            template: full_score(engine, scenes[:fewer], images[:fewer], everything, template)
            for template in TEMPLATES
        },
        files={
            name: full_score(
                engine,
                scenes[:fewer],
                encode_scenes(engine, scenes[:fewer], *file, first_seed=seeds_of(seed)),
                everything,
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


def ask(engine: Engine, scenes: Sequence[Scene], images: Tensor, axes: Sequence[str]) -> Score:
    """Score short labels, which tell some attributes only, in the default template.

    Args:
        engine: With the demo model.
        scenes: B scenes.
        images: Their features, `[B, D]`.
        axes: Axes, or `count` or `position`; the latter is asked about single objects only.
    """
    rows = [i for i, s in enumerate(scenes) if "position" not in axes or s.count == 1]
    labels = list(
        dict.fromkeys(_label(scene, axes) for scene in all_scenes() if _fits(scene, axes))
    )
    truth = torch.tensor([labels.index(_label(scenes[i], axes)) for i in rows])
    right = guess(engine, images[rows], labels) == truth
    return Score.of(int(right.sum()), len(labels), len(rows))


def weak_spots(scenes: Sequence[Scene], guessed: Tensor) -> list[WeakSpot]:
    """Where most mistakes were made, worst first.

    Args:
        scenes: B scenes.
        guessed: Indices of the values of each one's best description, int64 `[B, A]`.
    """
    pictures: Counter[str] = Counter()
    readings: dict[str, Counter[str]] = {}
    for scene, guess_ in zip(scenes, guessed.tolist(), strict=True):
        values = asdict(scene)
        shows = label({axis: values[axis] for axis in WEAK_SPOT_AXES})
        pictures[shows] += 1
        read = {axis: VALUES[axis][i] for axis, i in zip(AXES, guess_, strict=True)}
        wrong = [value for axis, value in read.items() if value != values[axis]]
        if wrong:
            readings.setdefault(shows, Counter())[" and ".join(wrong)] += 1
    worst = sorted(readings, key=lambda shows: (-readings[shows].total(), shows))[:WEAK_SPOTS]
    return [
        WeakSpot(
            shows, pictures[shows], readings[shows].total(), *readings[shows].most_common(1)[0]
        )
        for shows in worst
    ]


def _groups(right: Tensor, scenes: Sequence[Scene], candidates: int) -> dict[str, Score]:
    groups = {}
    for axis in GROUPED_AXES:
        values = [asdict(scene)[axis] for scene in scenes]
        for value in VALUES[axis]:
            rows = [i for i, other in enumerate(values) if other == value]
            groups[f"{axis}: {value}"] = _all_right(right[rows], candidates)
    return groups


def _fits(scene: Scene, axes: Sequence[str]) -> bool:
    return "position" not in axes or scene.placement in POSITIONS


def _label(scene: Scene, axes: Sequence[str]) -> str:
    meaning = {axis: value for axis, value in asdict(scene).items() if axis in axes}
    if "count" in axes:
        meaning["placement"] = scene.placement if scene.placement in COUNTS else ONE
    if "position" in axes:
        meaning["placement"] = scene.placement
    return label(meaning)


def _all_right(right: Tensor, candidates: int) -> Score:
    return Score.of(int(right.all(dim=1).sum()), candidates, len(right))


def _rounded(shares: Tensor) -> list[float]:
    return [round(share, 4) for share in shares.tolist()]
