"""Results of a batch: scored together where the labels are the same, and each as if alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.tiny_clip import tiny_engine

from clip_engine.errors import ClipEngineError
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.score_stage import Encoded, ScoreStage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from clip_engine.engine import Engine

D = 512
LABELS = tuple("abcdefghij")


def unit(rows: int, seed: int) -> Tensor:
    noise = torch.randn(rows, D, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(noise, dim=1)


class NoOwner:
    def finished(self, tasks: Sequence[ImageTask]) -> None: ...


def task(features: Tensor, labels: tuple[str, ...] = LABELS, k: int = 3) -> ImageTask:
    request = TaggingRequest(labels, ("{}",), k)
    return ImageTask("data:,", request, NoOwner(), labels=labels, label_features=features)


class Counting:
    """An engine that counts how many images it scores at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.identity = engine.identity
        self.sizes: list[int] = []
        self.fail_with: BaseException | None = None

    def rank(self, features: Tensor, *rest: Any) -> Any:
        self.sizes.append(len(features))
        if self.fail_with is not None:
            raise self.fail_with
        return self.engine.rank(features, *rest)


@pytest.fixture(scope="module")
def tiny() -> Engine:
    return tiny_engine()


@pytest.fixture
def engine(tiny: Engine) -> Counting:
    return Counting(tiny)


@pytest.fixture
def labels() -> Tensor:
    return unit(len(LABELS), seed=1)


def score(engine: Counting, *batches: tuple[Sequence[ImageTask], Tensor]) -> dict[ImageTask, Any]:
    """What each task came to: its predictions as triples, or its error."""
    ends: dict[ImageTask, Any] = {}

    def succeeded(tasks: Sequence[ImageTask]) -> None:
        for each in tasks:
            assert each.result is not None
            found = each.result["predictions"]
            ends[each] = [(p["label"], p["probability"], p["index"]) for p in found]

    stage = ScoreStage(
        engine,  # type: ignore[arg-type]  # it has what is used
        succeeded=succeeded,
        failed=ends.__setitem__,
    )
    stage.run([Encoded(tasks, rows, 0.0, 0.0) for tasks, rows in batches])
    return ends


def test_images_with_the_same_labels_are_scored_at_once_even_of_several_batches(
    engine: Counting, labels: Tensor
) -> None:
    others = unit(2, seed=2)
    first = [task(labels), task(others, ("x", "y")), task(labels)]
    second = [task(labels, k=1), task(labels)]
    ends = score(engine, (first, unit(3, seed=3)), (second, unit(2, seed=4)))
    assert engine.sizes == [3, 1, 1]
    assert [len(ends[each]) for each in [*first, *second]] == [3, 2, 3, 1, 3]
    assert {label for label, _, _ in ends[first[1]]} == {"x", "y"}


def test_a_result_is_the_same_to_the_last_bit_whatever_its_neighbours_are(
    engine: Counting, labels: Tensor
) -> None:
    rows = unit(64, seed=4)
    tasks = [task(labels) for _ in rows]
    ends = score(engine, (tasks, rows))
    for each, row in zip(tasks, rows, strict=True):
        [alone] = engine.engine.classify_features(row[None], labels, LABELS, 3)
        assert ends[each] == [(p.label, p.probability, p.index) for p in alone]


def test_one_image_whose_features_are_no_numbers_fails_alone(
    engine: Counting, labels: Tensor
) -> None:
    rows = unit(4, seed=5)
    rows[2] = float("nan")
    tasks = [task(labels) for _ in rows]
    ends = score(engine, (tasks, rows))
    assert isinstance(ends.pop(tasks[2]), ClipEngineError)
    assert [len(predictions) for predictions in ends.values()] == [3, 3, 3]


def test_a_bug_in_the_scoring_reaches_every_image(engine: Counting, labels: Tensor) -> None:
    engine.fail_with = MemoryError()
    tasks = [task(labels) for _ in range(3)]
    assert score(engine, (tasks, unit(3, seed=6))) == dict.fromkeys(tasks, engine.fail_with)
    assert engine.sizes == [3]
