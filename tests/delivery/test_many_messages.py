"""Very many messages in flight: Redis answers others while they are moved."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError
from support.queue_state import KEYS, unacked

from worker.delivery.redis_queue import MOST_BYTES, RedisQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    from support.redis_server import RedisServer

pytestmark = pytest.mark.integration

MANY = 100_000
PATIENCE_MS = 10  # after which Redis answers others with BUSY, as long as a script goes on
TAGS = [f"t-{i}" for i in range(MANY)]
LEASE_S = 10.0


@pytest.fixture
def busy(server: redis.Redis, queue: RedisQueue) -> Iterator[RedisQueue]:
    """A queue of a Redis with little patience, with all of TAGS in flight on this worker."""
    usual = server.config_get("lua-time-limit")
    server.config_set("lua-time-limit", PATIENCE_MS)
    queue.take(1)  # this is how it comes by its lease
    for start in range(0, MANY, 10_000):
        entries = {tag: f"q\n0\nmessage {tag}" for tag in TAGS[start : start + 10_000]}
        server.hset(KEYS.unacked(queue.lease.name), mapping=entries)
    yield queue
    server.config_set("lua-time-limit", usual["lua-time-limit"])


@contextmanager
def _somebody_asks(redis_server: RedisServer) -> Iterator[list[RedisError]]:
    """Another client asks again and again; what goes wrong for it."""
    errors: list[RedisError] = []
    over = threading.Event()

    def ask() -> None:
        with redis_server.client() as client:
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
    server: redis.Redis, redis_server: RedisServer, busy: RedisQueue
) -> None:
    with _somebody_asks(redis_server) as errors:
        assert busy.requeue(busy.lease, TAGS) == MANY

    assert errors == []
    assert (server.llen("q"), unacked(server, KEYS)) == (MANY, 0)
    # the last that was given back is the next to be taken
    assert server.lrange("q", -2, -1) == [f"message {tag}".encode() for tag in TAGS[-2:]]
    assert server.lindex("q", 0) == b"message t-0"


def test_others_are_answered_while_the_very_many_messages_of_a_lost_worker_are_reclaimed(
    server: redis.Redis, redis_server: RedisServer, busy: RedisQueue, other: RedisQueue
) -> None:
    busy.reap(LEASE_S)
    server.zadd(KEYS.leases, {busy.lease.name: 1})

    with _somebody_asks(redis_server) as errors:
        assert other.reap(LEASE_S).reclaimed == MANY

    assert errors == []
    assert (server.llen("q"), unacked(server, KEYS)) == (MANY, 0)
    assert server.zcard(KEYS.leases) == 0


def test_a_worker_that_wakes_while_its_messages_are_reclaimed_cant_have_them_back(
    server: redis.Redis, busy: RedisQueue, other: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: some have been reclaimed, and it hears of nothing
    busy.reap(LEASE_S)
    old = busy.lease
    server.zadd(KEYS.leases, {old.name: 1})
    run = other.run

    def run_once(*call: object) -> list[object]:
        answer = run(*call)  # type: ignore[arg-type]  # handed on as it is
        return [*answer[:3], 0, *answer[4:]]

    monkeypatch.setattr(other, "run", run_once)
    assert 0 < other.reap(LEASE_S).reclaimed < MANY
    # when
    busy.reap(LEASE_S)
    # then it reclaims the rest itself, under a new lease
    assert old.is_lost
    assert server.llen("q") == MANY


def test_large_messages_go_back_a_few_at_a_time(
    server: redis.Redis, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = [f"large-{i}" for i in range(5)]
    for tag in tags:
        entry = f"q\n0\n{tag}".encode().ljust(MOST_BYTES // 2, b".")
        server.hset(KEYS.unacked(queue.lease.name), tag, entry)
    sizes: list[int] = []
    run = queue.run

    def run_and_look(*call: object) -> object:
        answer = run(*call)  # type: ignore[arg-type]  # handed on as it is
        sizes.append(server.llen("q"))
        return answer

    monkeypatch.setattr(queue, "run", run_and_look)

    assert queue.requeue(queue.lease, tags) == 5

    assert sizes == [2, 4, 5]
    assert (server.lindex("q", -1) or b"")[:7] == b"large-4"
