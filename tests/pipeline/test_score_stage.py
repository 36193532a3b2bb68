"""Answers of a batch: scored together where the question is the same, and each as if alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.tiny_clip import tiny_engine

from clip_engine.errors import ClipEngineError
from worker.pipeline.batch_result import Batched
from worker.pipeline.fatal import Fatal
from worker.pipeline.job import Job
from worker.pipeline.score_stage import Scoring
from worker.pipeline.thread_pool import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from clip_engine.engine import Engine, Prediction

D = 512
LIMIT_S = 20.0
LABELS = tuple("abcdefghij")


def unit(rows: int, seed: int) -> Tensor:
    noise = torch.randn(rows, D, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(noise, dim=1)


class Picture:
    """Notes its answer."""

    def __init__(self, features: Tensor, labels: tuple[str, ...] = LABELS, k: int = 3) -> None:
        self.job = Job("data:,", labels, ("{}",), k)
        self.labels = labels
        self.label_features = features
        self.ended = False
        self.breaks = False
        self.predictions: Sequence[Prediction] | None = None
        self.error: BaseException | None = None

    def answer(
        self, batched: Batched[Tensor], predictions: Sequence[Prediction], score_s: float
    ) -> None:
        if self.breaks:
            raise ZeroDivisionError
        assert score_s > 0
        self.predictions = predictions

    def fail(self, error: BaseException) -> None:
        self.error = error


class Counting:
    """An engine that counts how many pictures it scores at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sizes: list[int] = []
        self.fail_with: BaseException | None = None

    def classify_features(self, features: Tensor, *rest: Any) -> list[list[Prediction]]:
        self.sizes.append(len(features))
        if self.fail_with is not None:
            raise self.fail_with
        return self.engine.classify_features(features, *rest)


@pytest.fixture(scope="module")
def tiny() -> Engine:
    return tiny_engine()


@pytest.fixture
def engine(tiny: Engine) -> Counting:
    return Counting(tiny)


@pytest.mark.parametrize(
    ("count", "idle", "here"),
    [(1, True, True), (1, False, False), (2, True, False), (2, False, False)],
)
def test_a_picture_alone_is_scored_by_the_thread_that_brings_it(
    engine: Counting,
    count: int,
    idle: bool,  # noqa: FBT001  # a case
    here: bool,  # noqa: FBT001  # likewise
) -> None:
    rows, features = unit(count, 1), unit(len(LABELS), 2)
    pictures = [Picture(features) for _ in range(count)]
    pool = Crew(1, "score")
    scoring = Scoring(engine, pool, Fatal(), lambda: idle)
    hold = threading.Event()
    pool.submit(hold.wait, LIMIT_S)  # so that nothing is scored there yet
    # when
    scoring.take(pictures, [Batched(row, 0.0, 0.0, count) for row in rows])
    # then
    assert [picture.predictions is not None for picture in pictures] == [here] * count
    hold.set()
    pool.shutdown()
    assert all(picture.predictions for picture in pictures)


def score(engine: Counting, pictures: Sequence[Picture], rows: Tensor) -> None:
    pool = Crew(1, "score")
    scoring = Scoring(engine, pool, Fatal())
    scoring.take(pictures, [Batched(row, 0.0, 0.0, len(rows)) for row in rows])
    pool.shutdown()


@pytest.fixture
def labels() -> Iterator[Tensor]:
    return unit(len(LABELS), seed=1)


def test_pictures_with_the_same_question_are_scored_at_once_and_others_apart(
    engine: Counting, labels: Tensor
) -> None:
    others = unit(2, seed=2)
    pictures = [
        Picture(labels),
        Picture(others, ("x", "y")),
        Picture(labels),
        Picture(labels, k=1),
        Picture(labels),
    ]
    score(engine, pictures, unit(5, seed=3))
    assert engine.sizes == [3, 1, 1]
    assert [len(picture.predictions or ()) for picture in pictures] == [3, 2, 3, 1, 3]
    assert {p.label for p in pictures[1].predictions or ()} == {"x", "y"}


def test_an_answer_is_the_same_to_the_last_bit_whatever_its_neighbours_are(
    engine: Counting, labels: Tensor
) -> None:
    rows = unit(64, seed=4)
    pictures = [Picture(labels) for _ in rows]
    score(engine, pictures, rows)
    for picture, row in zip(pictures, rows, strict=True):
        [alone] = engine.engine.classify_features(row[None], labels, LABELS, 3)
        assert picture.predictions == alone


def test_one_picture_whose_features_are_no_numbers_fails_alone(
    engine: Counting, labels: Tensor
) -> None:
    rows = unit(4, seed=5)
    rows[2] = float("nan")
    pictures = [Picture(labels) for _ in rows]
    score(engine, pictures, rows)
    assert [isinstance(picture.error, ClipEngineError) for picture in pictures] == [
        False,
        False,
        True,
        False,
    ]
    assert all(picture.predictions for picture in pictures if picture.error is None)


def test_a_bug_in_the_scoring_reaches_every_picture(engine: Counting, labels: Tensor) -> None:
    engine.fail_with = MemoryError()
    pictures = [Picture(labels) for _ in range(3)]
    score(engine, pictures, unit(3, seed=6))
    assert [picture.error for picture in pictures] == [engine.fail_with] * 3
    assert engine.sizes == [3]


def test_a_picture_that_can_not_take_its_answer_keeps_no_other_from_its_own(
    engine: Counting, labels: Tensor
) -> None:
    pictures = [Picture(labels) for _ in range(3)]
    pictures[1].breaks = True
    score(engine, pictures, unit(3, seed=7))
    assert [picture.predictions is not None for picture in pictures] == [True, False, True]
    assert isinstance(pictures[1].error, ZeroDivisionError)


def test_a_picture_that_nobody_waits_for_is_not_run(engine: Counting, labels: Tensor) -> None:
    scoring, picture = Scoring(engine, Crew(1, "score"), Fatal()), Picture(labels)
    assert scoring.accepts(picture)
    picture.ended = True
    assert not scoring.accepts(picture)


@pytest.mark.parametrize("pool", [Crew(1, "score"), ThreadPoolExecutor(1)])
def test_a_pool_that_was_shut_down_fails_the_whole_batch(
    engine: Counting, labels: Tensor, pool: Crew | ThreadPoolExecutor
) -> None:
    pool.shutdown()
    pictures = [Picture(labels) for _ in range(2)]
    batched = [Batched(row, 0.0, 0.0, 2) for row in unit(2, seed=8)]
    Scoring(engine, pool, Fatal()).take(pictures, batched)
    assert all(isinstance(picture.error, RuntimeError) for picture in pictures)
