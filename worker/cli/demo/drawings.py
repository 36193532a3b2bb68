"""Draws many images for the demo, each with its own labels."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clip_engine.demo.world.captions import describe, label
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import AXES, POSITIONS, VALUES, Scene

if TYPE_CHECKING:
    from random import Random

SIDE: Final = 96  # pixels, as the demo model sees them
QUALITY: Final = 95
SEED: Final = 20_000  # of the first one; the twelve images that come first have lower ones
WRONG: Final = 5  # descriptions beside the right one


@dataclass(frozen=True, slots=True)
class Drawing:
    """An image that was drawn, and its request.

    Attributes:
        path: Of the file.
        labels: One of them is right.
        answer: The one that is.
    """

    path: Path
    labels: tuple[str, ...]
    answer: str


def draw(folder: Path, count: int) -> Iterator[Drawing]:
    """Draw images one by one, the same ones each time.

    Args:
        folder: Existing; the files are written there.
        count: How many.
    """
    rng = random.Random(SEED)  # noqa: S311  # pictures, no secrets
    for number in range(count):
        scene = Scene(*(rng.choice(VALUES[axis]) for axis in AXES))
        path = folder / f"{number:04}.jpg"
        draw_scene(scene, (SIDE, SIDE), SEED + number).save(path, quality=QUALITY, subsampling=0)
        labels, answer = rng.choice(QUESTIONS)(scene, rng)
        yield Drawing(path, labels, answer)


def _which(*axes: str) -> Callable[[Scene, Random], tuple[tuple[str, ...], str]]:
    """A question for one value of some axes, among all that there are."""

    def question(scene: Scene, _: Random) -> tuple[tuple[str, ...], str]:
        scenes = [scene]
        for axis in axes:
            scenes = [replace(each, **{axis: value}) for each in scenes for value in VALUES[axis]]
        return tuple(_part(each, axes) for each in scenes), _part(scene, axes)

    return question


def _part(scene: Scene, axes: tuple[str, ...]) -> str:
    return label({axis: value for axis, value in asdict(scene).items() if axis in axes})


def _where_or_how_many(scene: Scene, rng: Random) -> tuple[tuple[str, ...], str]:
    if scene.placement in POSITIONS:
        return tuple(label({"placement": each}) for each in POSITIONS), scene.placement
    return _which("placement", "shape")(scene, rng)


def _description(scene: Scene, rng: Random) -> tuple[tuple[str, ...], str]:
    """The whole description, among others that differ from it in one attribute each."""
    others: dict[str, None] = {}
    while len(others) < WRONG:
        axis = rng.choice(AXES)
        other = replace(scene, **{axis: rng.choice(VALUES[axis])})
        if other != scene:
            others[describe(other)] = None
    labels = [describe(scene), *others]
    rng.shuffle(labels)
    return tuple(labels), describe(scene)


QUESTIONS: Final = (
    _which("shape"),
    _which("colour"),
    _which("texture"),
    _which("background"),
    _which("colour", "shape"),
    _where_or_how_many,
    _description,
    _description,
)
