"""A bulk run: each item gets one row, whatever stops it; with few in flight."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
from support.bulk_runs import AnsweringWorkers, ListFeed, ListSink
from support.fake_clock import FakeClock

from clip_worker.bulk.journal import Journal
from clip_worker.bulk.progress import Progress
from clip_worker.bulk.run import BulkRun
from clip_worker.bulk.sender import Sender
from clip_worker.bulk.supply import Supply
from clip_worker.client import handle
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.errors import (
    ResultTimeoutError,
    TemporaryError,
)
from clip_worker.feeds.item import Item

KEYS = [str(number) for number in range(25)]


class Crash(BaseException):
    """What ends a process without a chance to do anything."""


def test_each_item_gets_one_row(classify: Any, sink: ListSink, workers: AnsweringWorkers) -> None:
    # when
    is_finished = classify(ListFeed(25))
    # then
    assert is_finished
    assert sorted(sink.keys, key=int) == KEYS
    assert len(workers.images) == 25
    assert not sink.is_open


def test_a_finished_run_leaves_nothing_in_redis(classify: Any, redis: fakeredis.FakeRedis) -> None:
    classify(ListFeed(25))
    assert redis.keys() == []


def test_no_more_images_are_in_flight_than_allowed(classify: Any, sink: ListSink) -> None:
    seen = []
    classify(ListFeed(25), in_flight=4, on_progress=lambda now: seen.append(now.in_flight))
    assert max(seen) <= 4
    assert len(sink.keys) == 25


def test_what_redis_has_lost_is_sent_again(
    classify: Any, sink: ListSink, redis: fakeredis.FakeRedis, workers: AnsweringWorkers
) -> None:
    # given a Redis that loses everything while most images wait for workers
    clock = FakeClock()
    workers.at_once = 1

    def lose(now: Progress) -> None:
        clock.now_s += 1.0
        if now.done == 3 and workers.at_once == 1:
            redis.flushall()
            workers.at_once = 100

    # when
    is_finished = classify(ListFeed(25), clock=clock, on_progress=lose)
    # then
    assert is_finished
    assert sorted(sink.keys, key=int) == KEYS
    assert len(workers.images) == 25


def test_what_redis_still_has_is_not_sent_again(
    classify: Any, redis: fakeredis.FakeRedis, workers: AnsweringWorkers
) -> None:
    # given workers that are away for an hour
    clock = FakeClock()
    workers.is_away = True

    def wait(now: Progress) -> None:
        clock.now_s += 60.0
        workers.is_away = clock.now_s < 3600.0
        assert redis.llen(DEFAULT_QUEUE) in (0, now.in_flight)

    # when
    classify(ListFeed(25), clock=clock, on_progress=wait, timeout_s=None)
    # then
    assert len(workers.images) == 25


STEPS = (
    (Sender, "send"),
    (ListSink, "write"),
    (ListSink, "commit"),
    (Journal, "commit"),
    (handle, "forget_all"),
)


@pytest.mark.parametrize("is_before", [True, False], ids=["before a step", "after it"])
def test_a_crash_at_any_step_loses_no_row_and_writes_none_twice(
    classify: Any,
    sink: ListSink,
    workers: AnsweringWorkers,
    monkeypatch: pytest.MonkeyPatch,
    is_before: bool,  # noqa: FBT001  # a parameter
) -> None:
    # given a run that crashes at its first step, continues and crashes at its second, and so on
    fuse = Fuse(is_before=is_before)
    monkeypatch.setattr("clip_worker.bulk.run.forget_all", fuse.wrap(handle.forget_all))
    for place, name in STEPS[:-1]:
        monkeypatch.setattr(place, name, fuse.wrap(getattr(place, name)))
    # when
    crashes = 0
    for fuse.left in itertools.count():
        try:
            classify(ListFeed(25), in_flight=4, commit_s=0.0)
            break
        except Crash:
            crashes += 1
    # then
    assert crashes >= 5
    assert sorted(sink.keys, key=int) == KEYS
    # what was sent is not sent again
    assert len(workers.images) == 25


class Fuse:
    """Makes functions crash once they were called so many times."""

    def __init__(self, *, is_before: bool) -> None:
        self.left = 0
        self._is_before = is_before

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            is_over = self.left == 0
            self.left -= 1
            if is_over and self._is_before:
                raise Crash
            result = function(*arguments)
            if is_over:
                raise Crash
            return result

        return wrapped


def test_after_a_stop_what_is_in_flight_is_done_and_the_rest_later(
    classify: Any, sink: ListSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    def stop(progress: Progress) -> None:
        progress.is_stopping = progress.done >= 8

    # when
    is_finished = classify(ListFeed(25), in_flight=4, on_progress=stop)
    # then
    done = len(sink.keys)
    assert not is_finished
    assert 8 <= done < 25
    # when
    assert classify(ListFeed(25))
    # then
    assert sorted(sink.keys, key=int) == KEYS


def test_a_continued_run_reads_no_item_that_is_done(classify: Any) -> None:
    # given
    def stop(progress: Progress) -> None:
        progress.is_stopping = progress.done >= 8

    classify(ListFeed(25), in_flight=4, on_progress=stop)
    # when
    feed = ListFeed(25)
    classify(feed)
    # then
    assert feed.reads <= 25 - 8


def test_a_retry_that_crashed_does_not_send_again_what_has_ended_since(
    classify: Any, workers: AnsweringWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    workers.fails = lambda _uri: TemporaryError("Not now.", "FETCH_503")
    classify(ListFeed(6))
    fuse = Fuse(is_before=False)
    monkeypatch.setattr(Journal, "commit", fuse.wrap(Journal.commit))
    fuse.left = 2
    with pytest.raises(Crash):
        classify(retry="passing", in_flight=1, commit_s=0.0)
    # when
    classify(retry="passing", in_flight=1, commit_s=0.0)
    # then
    assert len(workers.images) == 12


def test_invalid_items_without_an_end_take_no_memory(
    classify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    class Feed(ListFeed):
        def items(self, position: str | None) -> Any:
            return (Item(f"{n}", "not a URI", position=f"{n}") for n in range(self.total))

    monkeypatch.setattr("clip_worker.bulk.run.COMMIT_ROWS", 10)
    monkeypatch.setattr("clip_worker.bulk.run.AT_A_TIME", 10)
    rows: list[int] = []
    commit = BulkRun._commit

    def counted(run: BulkRun, supply: Supply) -> None:
        rows.append(len(run._rows))
        commit(run, supply)

    monkeypatch.setattr(BulkRun, "_commit", counted)
    # when
    classify(Feed(95))
    # then
    assert max(rows) == 10


def test_without_workers_the_run_ends_and_the_next_one_sends_again(
    classify: Any, sink: ListSink, workers: AnsweringWorkers, redis: fakeredis.FakeRedis
) -> None:
    # given
    workers.is_away = True
    with pytest.raises(ResultTimeoutError, match="check that a worker is running"):
        classify(ListFeed(3), timeout_s=0.05)
    redis.delete("clip")  # somebody purges the queue
    # when
    workers.is_away = False
    classify(ListFeed(3))
    # then
    assert sorted(sink.keys) == ["0", "1", "2"]
