"""Labels before pixels: what is cached goes on at once, what is new is encoded together."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from clip_engine.engine import ModelIdentity
from clip_engine.errors import TextTooLongError
from clip_engine.label_cache import LabelFeatures
from clip_engine.scoring.text_features import TextFeatures
from clip_worker.contract import LabelSet
from clip_worker.errors import InvalidRequestError
from worker.pipeline.core_share import CoreShare
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.label_stage import LabelStage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from clip_engine.scoring.options import Scoring
    from clip_engine.scoring.text_features import TextList

LIMIT_S = 20.0
TEMPLATES = ("a {}",)


class Texts:
    """An encoder that notes its calls, and holds them if the test says so."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def encode(self, prompts: Sequence[str]) -> Tensor:
        self.calls.append(list(prompts))
        self.begun.release()
        assert self.gate.wait(LIMIT_S)
        if any("long" in prompt for prompt in prompts):
            raise TextTooLongError("The label is too long.")
        rows = [torch.tensor([float(len(prompt)), 1.0, 2.0]) for prompt in prompts]
        return functional.normalize(torch.stack(rows), dim=-1)


class Sets:
    def get(self, name: str) -> LabelSet:
        if name != "pets":
            raise InvalidRequestError(f"There is no label set {name}.", "UNKNOWN_LABEL_SET")
        return LabelSet(labels=("cat", "dog"))


class Engine:
    """The part of an engine that the stage uses; `none_of_these` needs the feature of "thing"."""

    identity = ModelIdentity("tiny", "0" * 64)

    def __init__(self, labels: LabelFeatures) -> None:
        self.labels = labels

    def text_lists(
        self, labels: tuple[str, ...], templates: tuple[str, ...], scoring: Scoring
    ) -> tuple[TextList, ...]:
        own, others = (labels, templates), (("thing",), templates)
        return (own, others) if scoring.none_of_these else (own,)

    text_features = staticmethod(TextFeatures.of_lists)


class Stage:
    def __init__(self) -> None:
        self.texts = Texts()
        self.ends: queue.Queue[tuple[str, object]] = queue.Queue()
        self.stage = LabelStage(
            Engine(LabelFeatures(self.texts.encode)),  # type: ignore[arg-type]  # what is used
            Sets(),
            cores=CoreShare(None),
            then=lambda tasks: [self.ends.put((task.image, task)) for task in tasks],  # type: ignore[func-returns-value]
            failed=lambda task, error: self.ends.put((task.image, error)),
        )

    def run(self, *requests: tuple[str, ...] | str) -> None:
        self.stage.run(
            [ImageTask(str(i), request(asked), None) for i, asked in enumerate(requests)]  # type: ignore[arg-type]  # no owner
        )

    def take(self, count: int) -> dict[str, object]:
        return dict(self.ends.get(timeout=LIMIT_S) for _ in range(count))


def request(asked: tuple[str, ...] | str, *, none_of_these: bool = False) -> TaggingRequest:
    labels, name = ((), asked) if isinstance(asked, str) else (asked, None)
    return TaggingRequest(labels, TEMPLATES, 1, none_of_these=none_of_these, label_set=name)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.texts.gate.set()
    stage.stage.stop(LIMIT_S)


def test_new_labels_of_a_batch_are_encoded_in_one_call(stage: Stage) -> None:
    stage.run(("cat", "dog"), ("dog", "tree"), "pets")
    tasks = stage.take(3)
    assert stage.texts.calls == [["a cat", "a dog", "a tree"]]
    assert [tasks[str(i)].plan.labels for i in range(3)] == [  # type: ignore[attr-defined]
        ("cat", "dog"),
        ("dog", "tree"),
        ("cat", "dog"),
    ]
    assert tasks["1"].text.labels.shape == (2, 3)  # type: ignore[attr-defined]


def test_all_that_a_score_needs_is_encoded_with_the_labels_and_then_found(stage: Stage) -> None:
    # given a request that needs more than the features of its labels
    tasks = [ImageTask(str(i), request(("cat",), none_of_these=True), None) for i in range(2)]  # type: ignore[arg-type]  # no owner
    for task in tasks:
        stage.stage.run([task])
        stage.take(1)
    # then both were encoded in one call, and the second time neither
    assert stage.texts.calls == [["a cat", "a thing"]]
    for task in tasks:
        assert task.text is not None
        assert task.text.background is not None
        assert task.text.background.shape == (1, 3)


def test_cached_labels_pass_those_that_are_being_encoded(stage: Stage) -> None:
    # given a list that is cached, and an encoder that is at work on others
    stage.run(("cat",))
    stage.take(1)
    assert stage.texts.begun.acquire(timeout=LIMIT_S)
    stage.texts.gate.clear()
    stage.run(("new",))
    assert stage.texts.begun.acquire(timeout=LIMIT_S)
    # when
    stage.stage.run([ImageTask("cached", request(("cat",)), None)])  # type: ignore[arg-type]
    # then
    assert stage.ends.get(timeout=LIMIT_S)[0] == "cached"
    stage.texts.gate.set()
    assert stage.ends.get(timeout=LIMIT_S)[0] == "0"


def test_labels_at_fault_fail_their_own_images_only(stage: Stage) -> None:
    stage.run(("cat", "long"), ("dog",), "cars", ("tree",))
    ends = stage.take(4)
    assert isinstance(ends["0"], TextTooLongError)
    assert isinstance(ends["2"], InvalidRequestError)
    assert isinstance(ends["1"], ImageTask)
    assert isinstance(ends["3"], ImageTask)
