"""Sending messages to a real Redis, with and without a queue limit."""

from __future__ import annotations

import json

import pytest
from support.fake_clock import FakeClock

from clip_worker.client.publisher import Publisher
from clip_worker.client.push_plan import (
    MOST_BYTES,
    MOST_MESSAGES,
    Message,
    PushPlan,
    QueueLimit,
)
from clip_worker.contract.keys import QueueKeys
from clip_worker.errors import QueueFullError, QueueUnavailableError
from clip_worker.redis.url import connect

pytestmark = pytest.mark.integration

QUEUE = "images"
MESSAGES = [f"message {n}" for n in range(10)]
LARGE_LIMITS = pytest.mark.parametrize("limit", [None, QueueLimit(10_000)])


@pytest.fixture
def redis(redis_url):
    with connect(redis_url) as redis:
        yield redis


def send(redis, limit, messages=MESSAGES, *, clock=None, priority=0, tenant=None):
    clock = clock or FakeClock()
    url = "redis://:secret@pictures"
    plan = PushPlan(url, QUEUE, limit, once_s=60, clock=clock)
    publisher = Publisher(redis, plan, clock.sleep)
    sent = [Message(each) if isinstance(each, str) else each for each in messages]
    return publisher.send(sent, len(sent), priority, tenant)


def received(redis) -> list[str]:
    """What workers receive, in order."""
    return [message.decode() for message in reversed(redis.lrange(QUEUE, 0, -1))]


@pytest.mark.parametrize("limit", [None, QueueLimit(10), QueueLimit(10, "wait")])
def test_messages_are_received_in_the_order_in_which_they_were_sent(redis, limit):
    assert sum(send(redis, limit)) == len(MESSAGES)
    assert received(redis) == MESSAGES


@LARGE_LIMITS
def test_a_round_trip_is_limited_in_messages_and_in_bytes(redis, limit):
    many = [f"message {n}" for n in range(2 * MOST_MESSAGES + 1)]
    large = [MOST_BYTES * "x", "y", (MOST_BYTES - 1) * "z"]
    assert list(send(redis, limit, many)) == [MOST_MESSAGES, MOST_MESSAGES, 1]
    assert received(redis) == many
    assert list(send(redis, limit, large)) == [1, 2]
    assert list(send(redis, limit, [])) == []


@LARGE_LIMITS
@pytest.mark.parametrize(("priority", "step"), [(0, 0), (2, 0), (3, 1), (8, 2), (9, 3)])
def test_each_priority_has_the_list_that_kombu_reads(redis, limit, priority, step):
    list(send(redis, limit, ["message"], priority=priority))
    assert redis.keys() == [QueueKeys(QUEUE).lists[step].encode()]


@LARGE_LIMITS
def test_a_tenant_has_lists_of_its_own_and_one_turn_however_much_it_sends(redis, limit):
    keys = QueueKeys(QUEUE)
    list(send(redis, limit, priority=4, tenant="a"))
    list(send(redis, limit, [Message("marked", "marker")], tenant="a"))
    list(send(redis, limit, ["b"], tenant="b"))

    assert redis.lrange(keys.tenant("a", 3), 0, -1)[-1] == b"message 0"
    assert redis.lrange(keys.tenant("a"), 0, -1) == [b"marked"]
    assert redis.lrange(keys.tenants, 0, -1) == [b"b", b"a"]
    waiting = redis.zrange(keys.tenants_waiting, 0, -1, withscores=True)
    assert waiting == [(b"b", 1), (b"a", 11), (b"*", 12)]
    assert not redis.exists(QUEUE)


def test_messages_of_tenants_count_towards_the_limit(redis):
    list(send(redis, None, tenant="a"))
    with pytest.raises(QueueFullError, match="10 messages are waiting, of at most 19"):
        list(send(redis, QueueLimit(19)))
    with pytest.raises(QueueFullError, match="10 messages are waiting, of at most 19"):
        list(send(redis, QueueLimit(19), tenant="b"))
    list(send(redis, QueueLimit(20), tenant="b"))
    assert redis.llen(QueueKeys(QUEUE).tenant("b")) == 10


def test_if_not_all_messages_fit_none_is_sent(redis):
    # given messages of several priorities in the queue
    for name in QueueKeys(QUEUE).lists:
        redis.lpush(name, "waiting")
    # when
    with pytest.raises(QueueFullError, match="4 messages are waiting, of at most 13") as caught:
        list(send(redis, QueueLimit(13)))
    # then
    assert caught.value.code == "QUEUE_FULL"
    assert "10 more don't fit" in caught.value.message
    assert "secret" not in caught.value.message
    assert received(redis) == ["waiting"]
    assert sum(send(redis, QueueLimit(13), MESSAGES[:9])) == 9


def test_a_batch_that_was_admitted_is_sent_whole(redis):
    # given a batch of two round trips, between which others fill the queue
    many = [f"message {n}" for n in range(MOST_MESSAGES + 1)]
    sending = send(redis, QueueLimit(len(many)), many)
    assert next(sending) == MOST_MESSAGES
    redis.lpush(QUEUE, *MESSAGES)
    # then
    assert list(sending) == [1]


def test_a_waiting_producer_sends_as_workers_take_messages(redis):
    redis.lpush(QUEUE, "waiting")
    clock = FakeClock(then=lambda: redis.rpop(QUEUE))
    assert list(send(redis, QueueLimit(4, "wait"), clock=clock)) == [3, *7 * [1]]
    assert received(redis) == MESSAGES[-4:]


def test_a_waiting_producer_gives_up_when_no_message_is_taken(redis):
    redis.lpush(QUEUE, "waiting")
    sending = send(redis, QueueLimit(3, "wait", wait_limit_s=7.0))
    assert next(sending) == 2
    with pytest.raises(QueueFullError, match="workers took none for 7 s"):
        next(sending)
    assert received(redis) == ["waiting", *MESSAGES[:2]]


@LARGE_LIMITS
def test_a_redis_whose_memory_is_full_is_reported(redis, limit):
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailableError, match="its memory is full"):
            list(send(redis, limit))
    finally:
        redis.config_set("maxmemory", 0)


@LARGE_LIMITS
def test_a_redis_that_became_a_replica_is_reported(redis, limit):
    redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(QueueUnavailableError, match="it is a replica"):
            list(send(redis, limit))
    finally:
        redis.replicaof("NO", "ONE")


# --- messages that are sent once ---

ONCE = [Message(f"message {n}", f"sent:{n}") for n in range(4)]


@LARGE_LIMITS
def test_a_message_with_a_marker_is_sent_once(redis, limit):
    assert list(send(redis, limit, ONCE[:2])) == [2]
    mixed = [ONCE[0], Message("other"), ONCE[2], ONCE[2], Message("other")]
    assert list(send(redis, limit, mixed)) == [5]
    assert received(redis) == ["message 0", "message 1", "other", "message 2", "other"]
    assert 0 < redis.ttl("sent:0") <= 60


def test_messages_that_were_sent_before_need_no_room(redis):
    list(send(redis, None, ONCE))
    assert list(send(redis, QueueLimit(4), ONCE)) == [4]
    assert list(send(redis, QueueLimit(5), [*ONCE, Message("new")])) == [5]
    with pytest.raises(QueueFullError, match="5 messages are waiting, of at most 5"):
        list(send(redis, QueueLimit(5), [*ONCE, Message("newer")]))
    assert received(redis) == [*(message.text for message in ONCE), "new"]


def test_a_waiting_producer_skips_what_was_sent_before(redis):
    list(send(redis, None, ONCE[:2]))
    clock = FakeClock(then=lambda: redis.rpop(QUEUE))
    assert list(send(redis, QueueLimit(2, "wait"), ONCE, clock=clock)) == [2, 1, 1]
    assert received(redis) == ["message 2", "message 3"]


@LARGE_LIMITS
def test_a_message_that_redis_refuses_leaves_no_marker(redis, limit):
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailableError, match="its memory is full"):
            list(send(redis, limit, ONCE))
    finally:
        redis.config_set("maxmemory", 0)
    assert redis.keys() == []


# --- uploads ---

KEY = "clip-worker:upload:0"
USERS = f"{KEY}:users"


def using(task_id: str, claim: str = "claim", **fields: str) -> Message:
    return Message(f"message {task_id}", uploads=json.dumps([KEY, task_id, claim]), **fields)


def store(redis, *users: str) -> None:
    redis.set(KEY, "picture", px=60_000)
    redis.sadd(USERS, *users)


@LARGE_LIMITS
def test_a_task_becomes_a_user_of_its_upload_in_place_of_the_claim(redis, limit):
    store(redis, "claim", "other claim", "keep")
    other_claim = using("c", "other claim")
    list(send(redis, limit, [using("a"), using("b", ""), "another", other_claim]))
    assert redis.smembers(USERS) == {b"a", b"b", b"c", b"keep"}
    assert 59_000 < redis.pttl(USERS) <= 60_000
    assert received(redis) == ["message a", "message b", "another", "message c"]


@LARGE_LIMITS
def test_of_an_upload_that_is_gone_nothing_is_noted(redis, limit):
    list(send(redis, limit, [using("a")]))
    assert redis.keys() == [QUEUE.encode()]


def test_an_upload_without_a_lifetime_has_users_without_one(redis):
    redis.set(KEY, "picture")  # by a producer of its own
    list(send(redis, None, [using("a")]))
    assert (redis.smembers(USERS), redis.ttl(USERS)) == ({b"a"}, -1)


def test_the_upload_of_a_task_that_was_sent_before_is_deleted_unless_another_uses_it(redis):
    store(redis, "claim")
    list(send(redis, None, [using("a", marker="sent:a")]))
    # when it is sent again, with another upload of the same bytes
    redis.sadd(USERS, "second claim")
    list(send(redis, None, [using("a", "second claim", marker="sent:a")]))
    assert redis.smembers(USERS) == {b"a"}
    # and again, when the first has ended and its upload was deleted
    redis.delete(USERS)
    store(redis, "third claim")
    list(send(redis, None, [using("a", "third claim", marker="sent:a")]))
    assert redis.exists(KEY, USERS) == 0
    assert received(redis) == ["message a"]


@pytest.mark.parametrize("limit", [QueueLimit(1), QueueLimit(1, "wait", wait_limit_s=0)])
def test_an_upload_whose_task_does_not_fit_keeps_its_claim(redis, limit):
    store(redis, "claim")
    redis.lpush(QUEUE, "waiting")
    with pytest.raises(QueueFullError):
        list(send(redis, limit, [using("a")]))
    assert redis.smembers(USERS) == {b"claim"}
