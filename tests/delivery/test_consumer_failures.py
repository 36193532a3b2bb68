"""The queue consumer beside dead workers, a Redis that is away, bugs, and at its end."""

from __future__ import annotations

import contextlib
import gc
import threading
import warnings
from typing import Any

import pytest
from support.consumer_stage import DEAD, KEYS, Stage
from support.queue_state import accuse
from support.redis_server import RedisServer, find_executable
from support.waiting import wait_until

from worker.delivery.delivery import Crash
from worker.delivery.redis_queue import RedisQueue

pytestmark = pytest.mark.integration


def test_the_lease_is_renewed_for_as_long_as_the_work_takes(stage):
    stage.handle()
    lease = stage.queue.lease
    first = stage.redis.zscore(KEYS.leases, lease.name)

    wait_until(lambda: stage.redis.zscore(KEYS.leases, lease.name) > first + 2)

    assert not lease.is_lost
    assert len(stage.handler.got) == 1


def test_what_a_dead_worker_held_is_taken_over(stage):
    # given: somebody took two messages, began one, and is gone
    waiting, begun = stage.send(), stage.send()
    gone = RedisQueue(stage.redis, KEYS, lease_s=2, result_ttl_s=60)
    taken = gone.take(2)
    gone.start(gone.lease, [taken[1].tag], Crash(1.0, 1, "gone"))

    stage.start()

    assert {d.id: len(d.crashes) for d in stage.wait_for(2)} == {waiting: 0, begun: 1}


def test_what_is_condemned_expired_or_revoked_ends_without_the_handler(open_stage):
    stage = open_stage(revoked={"unwanted"})
    condemned = stage.send()
    accuse(stage.redis, KEYS, 2)
    expired, unwanted = stage.send(expires=-10), stage.send(task_id="unwanted")

    stage.start()

    assert stage.result(condemned)["result"]["exc_message"][0].endswith("[POISON]")
    assert stage.result(expired)["result"]["exc_message"] == ["expired"]
    assert stage.result(unwanted)["result"]["exc_message"] == ["revoked"]
    stage.ends()
    assert stage.redis.hkeys(DEAD) == [condemned.encode()]
    assert stage.handler.got == []


def test_a_consumer_that_never_began_leaves_nothing_open(redis_url):
    gc.collect()

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        Stage(redis_url).redis.close()
        gc.collect()

    assert [str(warning.message) for warning in seen] == []


def test_a_drain_waits_for_what_ends_in_time_and_gives_back_the_rest(stage):
    done = stage.handle(3)[1]
    threading.Timer(0.1, stage.acks.succeed, (done, "1")).start()

    stage.consumer.drain(0.5)

    assert stage.result(done.id)["result"] == 1
    assert stage.in_redis() == (2, 0, 0, 0)
    assert stage.consumer.given_back == 2
    assert stage.handler.abandoned


def test_a_result_waits_for_a_redis_that_is_away():
    executable = find_executable()
    assert executable is not None
    with (
        RedisServer(executable, "--appendonly", "yes", "--appendfsync", "always") as server,
        contextlib.closing(Stage(server.url)) as stage,
    ):
        [delivery] = stage.handle()
        server.stop()
        stage.acks.succeed(delivery, "1")

        server.restart()

        assert stage.result(delivery.id)["result"] == 1
        stage.ends()
        assert stage.handler.got == [delivery]


def test_a_bug_in_storing_costs_a_repetition_and_not_the_worker(stage, monkeypatch):
    # given: storing fails once with what nobody foresaw
    finish, failures = stage.queue.finish, [ValueError("a bug")]

    def finish_or_fail(lease: Any, done: Any) -> list[bool]:
        if failures:
            raise failures.pop()
        return finish(lease, done)

    monkeypatch.setattr(stage.queue, "finish", finish_or_fail)
    [delivery] = stage.handle()
    stage.acks.succeed(delivery, "1")

    # when it has been found twice that nobody works on it, then it comes again and is stored
    again = stage.wait_for(2)[1]
    stage.acks.succeed(again, "2")
    assert stage.result(delivery.id)["result"] == 2
