"""An idle worker encodes the labels of a set that was stored a moment ago."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from redis.exceptions import ConnectionError as RedisConnectionError
from support.text_features import feature_of
from support.waiting import LIMIT_S, wait_until

from clip_engine.errors import TextTooLongError
from clip_engine.label_cache import LabelFeatures
from clip_worker.contract import LabelSet
from clip_worker.contract.keys import NEW_LABEL_SETS
from clip_worker.redis.label_sets import LabelSets
from worker.text_features.new_label_sets import CHUNK_PROMPTS, NewLabelSets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis
    from torch import Tensor

    from clip_engine.scoring.text_features import TextList

pytestmark = pytest.mark.integration

TEMPLATES = ("a {}",)
LABELS = tuple(f"label {number}" for number in range(3 * CHUNK_PROMPTS))


class Worker:
    """What a worker has that encodes ahead."""

    def __init__(self, redis: Redis) -> None:
        self.sets = LabelSets(redis)
        self.prompts: list[str] = []
        self.idle_answers: list[bool] = []  # then it is idle
        self.features = LabelFeatures(self._encode)
        self.new = NewLabelSets(
            redis, self.features, lists=self._lists, is_idle=self._is_idle, every_s=0.01
        )

    def put(self, *labels: str, name: str = "animals") -> None:
        self.sets.put(name, LabelSet(labels=labels))

    def _is_idle(self) -> bool:
        return self.idle_answers.pop(0) if self.idle_answers else True

    def _lists(self, name: str) -> Sequence[TextList]:
        return ((self.sets.read(name).labels, TEMPLATES),)

    def _encode(self, prompts: Sequence[str]) -> Tensor:
        if "a long" in prompts:
            raise TextTooLongError("The text has 90 tokens.")
        self.prompts += prompts
        return torch.stack([feature_of(prompt) for prompt in prompts])


@pytest.fixture
def worker(redis: Redis) -> Iterator[Worker]:
    worker = Worker(redis)
    yield worker
    worker.new.stop(LIMIT_S)


def test_the_first_request_finds_the_whole_list_encoded(worker: Worker) -> None:
    worker.put(*LABELS)
    worker.new.look()
    assert sorted(worker.prompts) == sorted(f"a {label}" for label in LABELS)
    found = worker.features.find(LABELS, TEMPLATES)
    assert found is not None
    assert torch.equal(found[0], feature_of(f"a {LABELS[0]}"))


def test_of_a_set_that_changes_only_the_new_labels_are_encoded(worker: Worker) -> None:
    worker.put("cat")
    worker.put("cat", "dog")
    worker.new.look()
    worker.put("dog", "bird")
    worker.new.look()
    worker.new.look()
    assert sorted(worker.prompts) == ["a bird", "a cat", "a dog"]


def test_a_busy_worker_does_it_later(worker: Worker) -> None:
    worker.put("cat")
    worker.idle_answers = [False]
    worker.new.look()
    assert worker.prompts == []
    worker.new.look()
    assert worker.prompts == ["a cat"]


def test_a_worker_that_gets_a_task_meanwhile_goes_on_when_it_is_idle_again(worker: Worker) -> None:
    worker.put(*LABELS)
    worker.idle_answers = [True, True, False, False]
    worker.new.look()
    assert len(worker.prompts) == len(LABELS)


@pytest.mark.parametrize("bad", ["removed", "too long", "no label set", "damaged entry"])
def test_a_set_that_cant_be_encoded_keeps_no_other_from_it(
    worker: Worker, redis: Redis, bad: str
) -> None:
    worker.put("cat", name="good")
    worker.put("long" if bad == "too long" else "dog", name="bad")
    if bad == "removed":
        worker.sets.remove("bad")
    elif bad == "no label set":
        redis.set("clip-worker:label-set:bad", b"{")
    elif bad == "damaged entry":
        worker.sets.remove("bad")
        redis.xadd(NEW_LABEL_SETS, {"name": b"\xff@1"})
        redis.xadd(NEW_LABEL_SETS, {"other": b""})
    worker.new.look()
    assert worker.prompts == ["a cat"]


def test_the_thread_survives_what_goes_wrong_and_ends_when_it_is_told(
    worker: Worker, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = [RedisConnectionError("Error 111"), RuntimeError("a bug")]
    usual = redis.xread

    def xread(*arguments: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return usual(*arguments)

    monkeypatch.setattr(redis, "xread", xread)
    worker.put("cat")
    worker.new.start()
    wait_until(lambda: worker.features.find(("cat",), TEMPLATES) is not None)
    worker.new.stop(LIMIT_S)
    [record] = caplog.records
    assert "can't be encoded ahead" in record.message
