"""Results of a batch: scored together where the labels are the same, and each as if alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.tiny_clip import tiny_engine

from clip_engine.errors import ClipEngineError
from clip_engine.scoring.hierarchy import LabelTree
from clip_engine.scoring.options import SOFTMAX, Scoring
from clip_engine.scoring.text_features import TextFeatures
from clip_worker.contract import Classification
from worker.pipeline.core_share import CoreShare
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.score_stage import Encoded, ScoreStage
from worker.pipeline.scoring_plan import ScoringPlan

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


def task(
    features: Tensor,
    labels: tuple[str, ...] = LABELS,
    k: int = 3,
    *,
    threshold: float | None = None,
    **plan: Any,
) -> ImageTask:
    planned = ScoringPlan(labels, (), **plan)
    name = planned.label_set and planned.label_set["name"]
    request = TaggingRequest(labels, ("{}",), k, threshold=threshold, label_set=name)
    text = TextFeatures(features, background=unit(4, seed=9))
    return ImageTask("data:,", request, NoOwner(), plan=planned, text=text)


class Counting:
    """An engine that counts how many images it scores at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.identity = engine.identity
        self.sizes: list[int] = []
        self.threads: list[int] = []  # torch's
        self.fail_with: BaseException | None = None

    def rank(self, features: Tensor, *rest: Any) -> Any:
        self.sizes.append(len(features))
        self.threads.append(torch.get_num_threads())
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


def score(
    engine: Counting, *batches: tuple[Sequence[ImageTask], Tensor], cores: int | None = None
) -> dict[ImageTask, Any]:
    """What each task ended with: its predictions as triples, or its error."""
    ends: dict[ImageTask, Any] = {}

    def succeeded(tasks: Sequence[ImageTask]) -> None:
        for each in tasks:
            assert each.result is not None
            found = each.result["predictions"]
            ends[each] = [(p["label"], p["probability"], p["index"]) for p in found]

    stage = ScoreStage(
        engine,  # type: ignore[arg-type]  # it has what is used
        cores=CoreShare(cores),
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


def test_scoring_uses_one_thread_though_its_thread_began_beside_a_forward_pass_of_more(
    engine: Counting, labels: Tensor
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)  # what such a thread inherits
    try:
        score(engine, ([task(labels)], unit(1, seed=3)), cores=4)
    finally:
        torch.set_num_threads(before)
    assert engine.threads == [1]


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


# --- what is asked besides the softmax ---

COSINE = Scoring("cosine", none_of_these=True)


def result_of(engine: Counting, one: ImageTask, features: Tensor) -> dict[str, Any]:
    score(engine, ([one], features))
    assert one.result is not None
    return one.result


def test_tasks_that_are_scored_differently_are_scored_apart(
    engine: Counting, labels: Tensor
) -> None:
    tree = LabelTree.of(LABELS)
    tasks = [
        task(labels),
        task(labels, scoring=COSINE),
        task(labels, tree=tree),
        task(labels, scoring=COSINE),
        task(labels, tree=tree),
        task(labels),
    ]
    ends = score(engine, (tasks, unit(6, seed=3)))
    assert engine.sizes == [2, 2, 2]
    assert [len(ends[each]) for each in tasks] == [3] * 6


def test_a_default_result_has_no_other_keys_than_ever(engine: Counting, labels: Tensor) -> None:
    result = result_of(engine, task(labels), unit(1, seed=3))
    keys = ["predictions", "model", "model_digest", "timing", "embedding"]
    assert list(result) == keys
    assert [list(each) for each in result["predictions"]] == [["label", "probability", "index"]] * 3


def test_scores_and_none_of_these_are_the_engines(engine: Counting, labels: Tensor) -> None:
    row, one = unit(1, seed=3), task(labels, scoring=COSINE)
    result = result_of(engine, one, row)
    assert one.text is not None
    expected = engine.engine.rank(row, one.text, 3, COSINE)
    found = result["predictions"]
    assert [[p["score"] for p in found]] == expected.scores
    assert [[p["probability"] for p in found]] == expected.probabilities
    assert [result["none_of_these"]] == expected.none_of_these
    Classification.model_validate(result)


def test_a_threshold_is_compared_with_the_score_that_is_asked_for(
    engine: Counting, labels: Tensor
) -> None:
    row = unit(1, seed=3)
    for scoring, key in ((SOFTMAX, "probability"), (COSINE, "score")):
        everything = result_of(engine, task(labels, scoring=scoring), row)["predictions"]
        limit = everything[1][key]
        kept = result_of(engine, task(labels, scoring=scoring, threshold=limit), row)
        assert kept["predictions"] == everything[:2]


def test_thresholds_of_a_calibration_count_unless_the_request_has_its_own(
    engine: Counting, labels: Tensor
) -> None:
    # given labels of which the best has a threshold that it misses, and one has none
    row = unit(1, seed=3)
    first, second, third = result_of(engine, task(labels), row)["predictions"]
    limits: list[float | None] = [1.0] * len(LABELS)
    limits[second["index"]] = second["probability"]
    limits[third["index"]] = None
    thresholds = tuple(limits)
    # then
    calibrated = result_of(engine, task(labels, thresholds=thresholds), row)
    assert calibrated["predictions"] == [second, third]
    own = result_of(engine, task(labels, thresholds=thresholds, threshold=0.0), row)
    assert own["predictions"] == [first, second, third]


def test_the_nodes_of_each_level_are_named_and_sum_up(engine: Counting, labels: Tensor) -> None:
    paths = tuple(f"{'left' if label < 'd' else 'right'} > {label}" for label in LABELS)
    used = {"name": "letters", "version": "0" * 12, "calibration": None}
    one = task(labels, paths, k=len(LABELS), tree=LabelTree.of(paths), label_set=used)
    found = Classification.model_validate(result_of(engine, one, unit(1, seed=3)))
    assert found.levels is not None
    assert found.label_set is not None
    assert found.label_set.name == "letters"
    broad, narrow = found.levels
    assert {node.label: node.index for node in broad} == {"left": 0, "right": 1}
    for node in broad:
        below = [p.probability for p in found.predictions if p.label.startswith(node.label)]
        assert node.probability == pytest.approx(sum(below))
    assert narrow == found.predictions
