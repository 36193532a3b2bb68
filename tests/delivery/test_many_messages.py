"""Very many messages in hand: Redis answers others while they are moved."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from worker.contract.keys import QueueKeys
from worker.delivery.redis_queue import MOST_BYTES, RedisQueue
from worker.redis.url import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer

pytestmark = pytest.mark.integration

KEYS = QueueKeys("q")
MANY = 100_000
PATIENCE_MS = 10  # after which Redis answers others with BUSY, as long as a script goes on
TAGS = [f"t-{i}" for i in range(MANY)]


@pytest.fixture
def queue(server: RedisServer) -> Iterator[RedisQueue]:
    """A queue of a Redis with little patience, with all of TAGS in flight on this worker."""
    client = server.client()
    client.config_set("lua-time-limit", PATIENCE_MS)
    queue = RedisQueue(connect(server.url), KEYS, lease_s=10, result_ttl_s=60)
    queue.take(1)  # this is how it comes by its lease
    for start in range(0, MANY, 10_000):
        part = TAGS[start : start + 10_000]
        entries = {tag: f"q\n0\nmessage {tag}" for tag in part}
        client.hset(KEYS.unacked(queue.lease.name), mapping=entries)
    yield queue
    queue.close()
    client.close()


@contextmanager
def _somebody_asks(server: RedisServer) -> Iterator[list[RedisError]]:
    """Another client asks again and again; what goes wrong for it."""
    errors: list[RedisError] = []
    over = threading.Event()

    def ask() -> None:
        with server.client() as client:
            while not over.is_set():
                try:
                    client.ping()
                except RedisError as error:
                    errors.append(error)
                    over.wait(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield errors
    finally:
        over.set()
        thread.join()


def test_others_are_answered_while_very_many_messages_are_given_back(
    server: RedisServer, queue: RedisQueue
) -> None:
    with _somebody_asks(server) as errors:
        assert queue.requeue(queue.lease, TAGS) == MANY

    assert errors == []
    client = server.client()
    assert (client.llen("q"), client.keys(KEYS.unacked("*"))) == (MANY, [])
    # the last that was given back is the next to be taken
    assert client.lrange("q", -2, -1) == [f"message {tag}".encode() for tag in TAGS[-2:]]
    assert client.lindex("q", 0) == b"message t-0"


def test_others_are_answered_while_the_very_many_messages_of_a_lost_worker_are_reclaimed(
    server: RedisServer, queue: RedisQueue
) -> None:
    queue.reap(3.0)
    other = RedisQueue(connect(server.url), KEYS, lease_s=10, result_ttl_s=60)
    server.client().zadd(KEYS.leases, {queue.lease.name: 1})

    with _somebody_asks(server) as errors:
        assert other.reap(3.0).reclaimed == MANY

    assert errors == []
    client = server.client()
    assert (client.llen("q"), client.keys(KEYS.unacked("*"))) == (MANY, [])
    assert client.zcard(KEYS.leases) == 0
    other.close()


def test_a_worker_that_wakes_while_its_messages_are_reclaimed_cant_have_them_back(
    server: RedisServer, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: some have been reclaimed, and it hears of nothing
    queue.reap(3.0)
    old = queue.lease
    other = RedisQueue(connect(server.url), KEYS, lease_s=10, result_ttl_s=60)
    server.client().zadd(KEYS.leases, {old.name: 1})
    run, answers = other._run, []

    def run_once(*call: object) -> list[object]:
        answers.append(run(*call))  # type: ignore[arg-type]  # handed on as it is
        return [*answers[-1][:3], 0, *answers[-1][4:]]

    monkeypatch.setattr(other, "_run", run_once)
    assert 0 < other.reap(3.0).reclaimed < MANY
    # when
    queue.reap(3.0)
    # then it reclaims the rest itself, under a new lease
    assert old.is_lost
    assert server.client().llen("q") == MANY
    other.close()


def test_large_messages_go_back_a_few_at_a_time(
    server: RedisServer, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client()
    client.flushall()
    tags = [f"large-{i}" for i in range(5)]
    size = MOST_BYTES // 2
    for tag in tags:
        client.hset(KEYS.unacked(queue.lease.name), tag, f"q\n0\n{tag}".encode().ljust(size, b"."))
    sizes: list[int] = []
    run = queue._calls.run

    def run_and_look(*call: object) -> object:
        answer = run(*call)  # type: ignore[arg-type]  # handed on as it is
        sizes.append(client.llen("q"))
        return answer

    monkeypatch.setattr(queue._calls, "run", run_and_look)

    assert queue.requeue(queue.lease, tags) == 5

    assert sizes == [2, 4, 5]
    assert client.lindex("q", -1)[:7] == b"large-4"  # type: ignore[index]  # it is there
