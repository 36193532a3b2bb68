"""Tasks whose right answers are known beforehand: the engine itself says them, in this process.

A few hundred drawn scenes and twenty label lists; each task asks one list about one scene, whose
bytes carry the task's mark. Only questions with a clear answer are asked, so that the last bits of
a float32 decide nothing.
"""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from clip_engine import load_engine
from clip_engine.demo.world.captions import describe
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import COLOURS, SHAPES, Scene, all_scenes
from torture.mark import Mark

SCENES = 200
LABEL_LISTS = 20
SIZE = (128, 96)
CLEAR = 0.05  # least distance between the first and the second probability
TEMPLATE = "a photo of a {}."
SOUND, BROKEN, SLOW, SEGFAULT, OOM = "sound", "broken", "slow", "segfault", "oom"
POISON = (SEGFAULT, OOM)


@dataclass(frozen=True)
class Shares:
    """How many of the tasks are of which bad kind, as shares of all."""

    poison: float = 0.01
    broken: float = 0.02
    slow: float = 0.02


@dataclass(frozen=True)
class Expected:
    """The right final state: a label and its probability, or a failure's code by its beginning."""

    state: str
    answer: str
    probability: float = 0.0


@dataclass(frozen=True)
class Job:
    """One task, ready to send."""

    mark: Mark
    uri: str
    labels: tuple[str, ...]
    expected: Expected


@dataclass(frozen=True)
class Question:
    """A scene's bytes, a list of labels, and what the engine says to it."""

    jpeg: bytes
    labels: tuple[str, ...]
    expected: Expected


class Workload:
    """Draws tasks.

    Args:
        folder: For the pictures of `file:` URIs.
        http: Base URL of the server whose pictures come at the third request.
        seed: Decides everything.
        slow_pictures: Gets those that the server has to serve, by path.
    """

    def __init__(self, folder: Path, http: str, seed: int, slow_pictures: dict[str, bytes]) -> None:
        self._slow_pictures = slow_pictures
        self._folder = folder
        self._http = http
        self._rng = random.Random(seed)
        self._questions = clear_questions(self._rng)

    def jobs(self, count: int, shares: Shares, first: int = 0) -> list[Job]:
        """`count` tasks in random order, numbered from `first`."""
        kinds = shuffled_kinds(count, shares, self._rng)
        return [self._job(Mark(number, kind)) for number, kind in enumerate(kinds, start=first)]

    def _job(self, mark: Mark) -> Job:
        question = self._rng.choice(self._questions)
        data = mark.stamp(question.jpeg)
        expected = question.expected
        if mark.kind == BROKEN:
            data = self._broken(mark, data)
            expected = Expected("FAILURE", "DECODE_")
        elif mark.kind in POISON:
            expected = Expected("FAILURE", "DECODE_CRASHED")
        return Job(mark, self._uri(mark, data), question.labels, expected)

    def _broken(self, mark: Mark, data: bytes) -> bytes:
        if self._rng.random() < 0.5:
            return data[: len(data) // 2]
        return mark.data + self._rng.randbytes(500)

    def _uri(self, mark: Mark, data: bytes) -> str:
        if mark.kind == SLOW:
            self._slow_pictures[f"/{mark.file_name}"] = data
            return f"{self._http}/{mark.file_name}"
        if self._rng.random() < 0.25:
            return "data:image/jpeg;base64," + base64.b64encode(data).decode()
        path = self._folder / mark.file_name
        path.write_bytes(data)
        return path.as_uri()


def shuffled_kinds(count: int, shares: Shares, rng: random.Random) -> list[str]:
    """The kind of each task; half of the poison crashes, half is killed for its memory."""
    poison = round(count * shares.poison)
    kinds = [POISON[i % len(POISON)] for i in range(poison)]
    kinds += [BROKEN] * round(count * shares.broken) + [SLOW] * round(count * shares.slow)
    kinds += [SOUND] * (count - len(kinds))
    rng.shuffle(kinds)
    return kinds


def clear_questions(rng: random.Random) -> list[Question]:
    """Scenes and label lists that go together, each with the engine's own answer."""
    torch.set_num_threads(1)
    engine = load_engine("demo", precision="float32")
    scenes = rng.sample(list(all_scenes()), SCENES)
    jpegs = [_jpeg(scene, seed) for seed, scene in enumerate(scenes)]
    features = engine.encode_pixels([engine.prepare(jpeg) for jpeg in jpegs])  # [B, D]
    questions: list[Question] = []
    for labels in _label_lists(scenes, rng):
        texts = engine.labels.get(labels, (TEMPLATE,))  # [L, D]
        answers = engine.classify_features(features, texts, labels, 2)
        for jpeg, (first, second) in zip(jpegs, answers, strict=True):
            if first.probability - second.probability > CLEAR:
                expected = Expected("SUCCESS", first.label, first.probability)
                questions.append(Question(jpeg, labels, expected))
    return questions


def _label_lists(scenes: Sequence[Scene], rng: random.Random) -> Iterator[tuple[str, ...]]:
    things = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    for i in range(LABEL_LISTS):
        if i % 2:
            yield tuple(rng.sample(things, rng.randint(4, 40)))
        else:
            yield tuple(dict.fromkeys(describe(scene) for scene in rng.sample(scenes, 10)))


def drawn_jpeg() -> bytes:
    """One drawn scene."""
    return _jpeg(next(all_scenes()), 0)


def _jpeg(scene: Scene, seed: int) -> bytes:
    file = io.BytesIO()
    draw_scene(scene, SIZE, seed).save(file, "JPEG", quality=85)
    return file.getvalue()
