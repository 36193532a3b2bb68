"""Frequent scrapes share one recent answer, and no scrape waits long for a Redis that hangs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as LostConnectionError
from support.fake_clock import FakeClock
from support.waiting import wait_until

from clip_worker.redis.queue_status import QueueStatus
from worker.metrics import queue_reader
from worker.metrics.queue_reader import FRESH_S, QueueReader
from worker.metrics.queue_values import queue_values

if TYPE_CHECKING:
    from collections.abc import Callable


class Redis:
    """Answers, fails or hangs, as the test says."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.answers = threading.Event()
        self.answers.set()

    def status(self, _redis: object, queue: str) -> QueueStatus:
        self.asked += 1
        assert self.answers.wait(60)
        if self.fails:
            raise LostConnectionError("refused")
        return QueueStatus(queue, self.asked, 0, 0, 0, None, 0, 0)


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Redis:
    redis = Redis()

    class NoReports:
        def __init__(self, *_: object) -> None: ...

        all: Callable[[NoReports], list[Any]] = lambda _self: []

    monkeypatch.setattr(queue_reader, "queue_status", redis.status)
    monkeypatch.setattr(queue_reader, "WorkerReports", NoReports)
    monkeypatch.setattr(queue_reader, "PATIENCE_S", 0.05)
    return redis


def reader_of(redis: Any, clock: FakeClock) -> QueueReader:
    return QueueReader(redis, lambda: ["clip"], clock)


def read(reader: QueueReader) -> Any:
    """Until it has an answer: a busy machine may take longer than the patience."""
    wait_until(reader.read)
    return reader.read()


def test_an_answer_serves_for_two_seconds(redis: Redis) -> None:
    clock = FakeClock(100.0)
    reader = reader_of(redis, clock)
    assert read(reader) == read(reader)
    assert redis.asked == 1
    clock.now_s += FRESH_S
    assert read(reader)[0].status.messages == 2


def test_a_redis_that_hangs_is_asked_once_and_nobody_waits_for_it(redis: Redis) -> None:
    redis.answers.clear()
    reader = reader_of(redis, FakeClock(100.0))
    assert [reader.read() for _ in range(3)] == [(), (), ()]
    assert redis.asked == 1
    redis.answers.set()
    assert read(reader)[0].status.queue == "clip"


def test_a_redis_that_fails_gives_nothing_and_is_asked_again_later(redis: Redis) -> None:
    redis.fails, clock = True, FakeClock(100.0)
    reader = reader_of(redis, clock)
    assert reader.read() == ()
    wait_until(lambda: not reader.read() and redis.asked == 1)
    redis.fails, clock.now_s = False, 100.0 + FRESH_S
    assert read(reader)


def test_what_is_unknown_of_a_queue_is_left_out(redis: Redis) -> None:
    values = queue_values(read(reader_of(redis, FakeClock(100.0))))
    assert values["queue_messages"] == {("clip",): 1}
    assert "queue_work_seconds" not in values
