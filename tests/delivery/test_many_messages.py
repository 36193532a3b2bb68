"""Very many messages in hand: Redis answers others while they are moved."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from worker.delivery.keys import QueueKeys
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
    """A queue of a Redis with little patience, with all of TAGS in hand."""
    client = server.client()
    client.config_set("lua-time-limit", PATIENCE_MS)
    for start in range(0, MANY, 10_000):
        part = TAGS[start : start + 10_000]
        client.hset(KEYS.unacked, mapping={tag: f"q\n0\nmessage {tag}" for tag in part})
        client.zadd(KEYS.leases, dict.fromkeys(part, 1e12))
    queue = RedisQueue(connect(server.url), KEYS, lease_s=10, result_ttl_s=60)
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
        assert queue.give_back(TAGS) == MANY

    assert errors == []
    client = server.client()
    assert (client.llen("q"), client.hlen(KEYS.unacked), client.zcard(KEYS.leases)) == (MANY, 0, 0)
    # the last that was given back is the next to be taken
    assert client.lrange("q", -2, -1) == [f"message {tag}".encode() for tag in TAGS[-2:]]
    assert client.lindex("q", 0) == b"message t-0"


def test_others_are_answered_while_very_many_leases_are_renewed(
    server: RedisServer, queue: RedisQueue
) -> None:
    with _somebody_asks(server) as errors:
        queue.renew(TAGS)

    assert errors == []
    assert server.client().zcount(KEYS.leases, "-inf", 9e11) == MANY


@pytest.mark.parametrize(
    ("looked", "ends"),
    [
        (None, 1.0),  # nobody has looked yet, and all leases have run out
        (2e12, 2e12 + 4),  # the clock was set back, when they had 4 s left
    ],
)
def test_others_are_answered_while_very_many_leases_are_moved(
    server: RedisServer, queue: RedisQueue, looked: float | None, ends: float
) -> None:
    client = server.client()
    for part in range(0, MANY, 10_000):
        client.zadd(KEYS.leases, dict.fromkeys(TAGS[part : part + 10_000], ends))
    if looked is not None:
        client.set(KEYS.tick, looked)
    before = time.time()

    with _somebody_asks(server) as errors:
        assert queue.reap(3.0) == (0, 0)

    assert errors == []
    after = time.time()
    assert client.zcount(KEYS.leases, before + 3, after + 4) == MANY
    assert before <= float(client.get(KEYS.tick) or 0) <= after


def test_large_messages_go_back_a_few_at_a_time(
    server: RedisServer, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client()
    client.flushall()
    tags = [f"large-{i}" for i in range(5)]
    size = MOST_BYTES // 2
    for tag in tags:
        client.hset(KEYS.unacked, tag, f"q\n0\n{tag}".encode().ljust(size, b"."))
    sizes: list[int] = []
    run = queue._calls.run

    def run_and_look(*call: object) -> object:
        answer = run(*call)  # type: ignore[arg-type]  # handed on as it is
        sizes.append(client.llen("q"))
        return answer

    monkeypatch.setattr(queue._calls, "run", run_and_look)

    assert queue.give_back(tags) == 5

    assert sizes == [2, 4, 5]
    assert client.lindex("q", -1)[:7] == b"large-4"  # type: ignore[index]  # it is there
