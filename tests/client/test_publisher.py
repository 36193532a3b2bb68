"""Sending within a bound, on a real Redis."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from worker.client.publisher import MOST_BYTES, MOST_MESSAGES, Bound, Publisher, _chunks
from worker.contract.keys import QueueKeys
from worker.errors import InvalidRequestError, QueueFullError, QueueUnavailableError
from worker.redis.url import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = "pictures"
MESSAGES = [f"message {n}" for n in range(10)]


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as redis:
        yield redis


class Clock:
    """Time that passes only while somebody sleeps; then something may happen."""

    def __init__(self, redis: Redis | None = None) -> None:
        self.now_s = 0.0
        self._redis = redis

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self._redis:
            self._redis.rpop(QUEUE)  # a worker takes one


def publisher(redis: Redis, bound: Bound | None = None, clock: Clock | None = None) -> Publisher:
    clock = clock or Clock()
    return Publisher(
        redis, "redis://:secret@pictures", QUEUE, bound, clock=clock, sleep=clock.sleep
    )


def taken(redis: Redis) -> list[str]:
    """What workers find, in the order in which they take it."""
    return [message.decode() for message in reversed(redis.lrange(QUEUE, 0, -1))]


@pytest.mark.integration
@pytest.mark.parametrize("bound", [None, Bound(10), Bound(10, "wait")])
def test_messages_are_taken_in_the_order_in_which_they_were_sent(
    redis: Redis, bound: Bound | None
) -> None:
    assert sum(publisher(redis, bound).send(MESSAGES, len(MESSAGES))) == len(MESSAGES)
    assert taken(redis) == MESSAGES


@pytest.mark.integration
@pytest.mark.parametrize("bound", [None, Bound(10_000)])
def test_thousands_of_messages_go_in_few_round_trips(redis: Redis, bound: Bound | None) -> None:
    many = [f"message {n}" for n in range(2 * MOST_MESSAGES + 1)]
    assert list(publisher(redis, bound).send(many, len(many))) == [MOST_MESSAGES, MOST_MESSAGES, 1]
    assert taken(redis) == many


@pytest.mark.integration
@pytest.mark.parametrize(("priority", "step"), [(0, 0), (2, 0), (3, 1), (8, 2), (9, 3)])
@pytest.mark.parametrize("bound", [None, Bound(100)])
def test_each_priority_has_the_list_that_kombu_reads(
    redis: Redis, bound: Bound | None, priority: int, step: int
) -> None:
    list(publisher(redis, bound).send(["message"], 1, priority))
    assert redis.keys() == [QueueKeys(QUEUE).lists[step].encode()]


@pytest.mark.integration
def test_what_does_not_fit_is_refused_whole(redis: Redis) -> None:
    # given a queue whose messages are of several priorities
    for name in QueueKeys(QUEUE).lists:
        redis.lpush(name, "waiting")
    full = publisher(redis, Bound(13))
    # when
    with pytest.raises(QueueFullError, match="4 messages are waiting, of at most 13") as caught:
        list(full.send(MESSAGES, len(MESSAGES)))
    # then
    assert caught.value.code == "QUEUE_FULL"
    assert "10 more don't fit" in caught.value.message
    assert "secret" not in caught.value.message
    assert taken(redis) == ["waiting"]
    assert sum(full.send(MESSAGES[:9], 9)) == 9


@pytest.mark.integration
def test_a_batch_that_was_let_in_is_not_cut_short_by_others(redis: Redis) -> None:
    # given a batch of two round trips, between which others fill the queue
    many = [f"message {n}" for n in range(MOST_MESSAGES + 1)]
    sending = publisher(redis, Bound(len(many))).send(many, len(many))
    assert next(sending) == MOST_MESSAGES
    redis.lpush(QUEUE, *MESSAGES)
    # then
    assert list(sending) == [1]


@pytest.mark.integration
def test_a_producer_that_waits_sends_as_room_comes(redis: Redis) -> None:
    redis.lpush(QUEUE, "waiting")
    clock = Clock(redis)
    sent = list(publisher(redis, Bound(4, "wait"), clock).send(MESSAGES, len(MESSAGES)))
    assert sent == [3, *7 * [1]]
    assert taken(redis) == MESSAGES[-4:]


@pytest.mark.integration
def test_waiting_ends_when_nothing_moves(redis: Redis) -> None:
    redis.lpush(QUEUE, "waiting")
    sending = publisher(redis, Bound(3, "wait", wait_limit_s=7.0)).send(MESSAGES, len(MESSAGES))
    assert next(sending) == 2
    with pytest.raises(QueueFullError, match="none was taken for 7 s"):
        next(sending)
    assert taken(redis) == ["waiting", *MESSAGES[:2]]


@pytest.mark.integration
@pytest.mark.parametrize("bound", [None, Bound(100)])
def test_a_redis_that_is_full_says_so(redis: Redis, bound: Bound | None) -> None:
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailableError, match="its memory is full"):
            list(publisher(redis, bound).send(MESSAGES, len(MESSAGES)))
    finally:
        redis.config_set("maxmemory", 0)


@pytest.mark.integration
@pytest.mark.parametrize("bound", [None, Bound(100)])
def test_a_redis_that_became_a_replica_says_so(redis: Redis, bound: Bound | None) -> None:
    redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(QueueUnavailableError, match="it is a replica"):
            list(publisher(redis, bound).send(MESSAGES, len(MESSAGES)))
    finally:
        redis.replicaof("NO", "ONE")


def test_a_round_trip_is_bounded_in_messages_and_in_bytes() -> None:
    small = itertools.repeat("x", 2 * MOST_MESSAGES)
    assert [len(chunk) for chunk in _chunks(small)] == [MOST_MESSAGES] * 2
    big = [MOST_BYTES * "x", "y", (MOST_BYTES - 1) * "z"]
    assert [len(chunk) for chunk in _chunks(big)] == [1, 2]
    assert list(_chunks([])) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"most": 0}, "max_queue_length is 0; give 1 or more"),
        ({"most": 1, "when_full": "drop"}, "when_full is 'drop'; give 'error' or 'wait'"),
    ],
)
def test_a_wrong_bound_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        Bound(**wrong)
