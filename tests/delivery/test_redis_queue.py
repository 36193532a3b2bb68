"""The scripts that move messages, on a real Redis: nothing is lost, nothing is done twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis
from redis.exceptions import OutOfMemoryError
from support import redis_clock
from support.queue_state import KEYS, started, unacked

from clip_worker.contract.message_reader import Envelope
from clip_worker.redis.dead_letters import DeadLetter, DeadLetters
from worker.delivery.delivery import Ack, Crash, Delivery
from worker.delivery.redis_queue import MOST_BYTES, Look, RedisQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.redis_server import RedisServer

pytestmark = pytest.mark.integration

CRASH = Crash(at=1.5, together=3, worker="w@h")
GAP_S = 5.0
LETTER = DeadLetter(
    id="t", task="clip.classify", reason="It.", code="POISON", died_at=3.0, history=(), message="m"
)


def _lapse(server: redis.Redis, queue: RedisQueue, other: RedisQueue) -> Look:
    """A worker's lease lapses, and another worker looks."""
    other.reap(GAP_S)
    server.zadd(KEYS.leases, {queue.lease.name: time.time() - 1}, xx=True)
    return other.reap(GAP_S)


def _everywhere(server: redis.Redis) -> dict[str, int]:
    return {
        "queue": server.llen("q"),
        "suspects": server.llen(KEYS.suspects),
        "unacked": unacked(server, KEYS),
        "started": len(started(server, KEYS)),
    }


NOWHERE = {"queue": 0, "suspects": 0, "unacked": 0, "started": 0}


def _left_s(server: redis.Redis, queue: RedisQueue) -> float:
    """Until a worker's lease lapses, by Redis's clock."""
    return float(server.zscore(KEYS.leases, queue.lease.name) or 0) - time.time()


def _parked(server: redis.Redis) -> dict[bytes, float]:
    leases = server.zrange(KEYS.leases, 0, -1, withscores=True)
    return {name: ends for name, ends in leases if name.startswith(b"parked:")}


def test_what_is_taken_is_the_oldest_and_stays_in_redis_under_a_lease(
    server: redis.Redis, queue: RedisQueue, other: RedisQueue
) -> None:
    server.lpush("q", *range(6))

    taken = [*queue.take(2), *queue.take(1), *other.take(2)]

    assert [entry.message for entry in taken] == [b"0", b"1", b"2", b"3", b"4"]
    assert len({entry.tag for entry in taken}) == 5
    assert server.lrange("q", 0, -1) == [b"5"]
    assert server.hlen(KEYS.unacked(queue.lease.name)) == 3
    assert _left_s(server, queue) == pytest.approx(10, abs=2)


def test_a_take_that_is_sent_again_gives_what_it_took_and_takes_no_more(
    server: redis.Redis, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: redis-py sends a command again, word for word, if the reply was lost
    server.lpush("q", *range(5))
    run, sent = queue.run, []

    def run_and_keep(*call: object) -> object:
        sent.append(call)
        return run(*call)  # type: ignore[arg-type]  # handed on as it is

    monkeypatch.setattr(queue, "run", run_and_keep)
    first = queue.take(3)

    def take_again() -> list[Delivery]:
        answer = run(*sent[0])  # type: ignore[arg-type]  # likewise
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return [Delivery.decode(queue.lease, tag, entry) for tag, entry in pairs]

    assert [(e.tag, e.message) for e in take_again()] == [(e.tag, e.message) for e in first]
    assert _everywhere(server) == NOWHERE | {"queue": 2, "unacked": 3}

    # and never puts anything over what is held, even if the first of it has gone back meanwhile
    queue.requeue(queue.lease, [first[0].tag])
    held = {entry.message for entry in (*first[1:], *take_again())}
    assert held == {b"0", b"1", b"2", b"3", b"4"}
    assert unacked(server, KEYS) == 5


def test_a_take_ends_with_the_message_that_brings_it_to_its_bound_of_bytes(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given: images that stand in their messages, and a suspect as large
    large = b"x" * (MOST_BYTES // 2)
    for _ in range(5):
        server.lpush("q", large)
    server.lpush(KEYS.suspects, b"q\n1\n1.0 1 gone\n" + large)
    # when
    counts = [len(queue.take(100, suspects=5)) for _ in range(4)]
    # then
    assert counts == [2, 2, 2, 0]
    assert unacked(server, KEYS) == 6


def test_what_arrived_for_an_idle_worker_is_taken_by_any_and_goes_back_to_its_list(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given what waits have moved, the oldest of their lists
    server.lpush(KEYS.lists[0], "second")
    server.lpush(KEYS.lists[3], "fourth")
    server.lpush(KEYS.arrived[3], "third")
    server.lpush(KEYS.arrived[0], "first")
    assert queue.reap(GAP_S).is_waiting

    taken = queue.take(5)

    assert not queue.reap(GAP_S).is_waiting
    assert [entry.message for entry in taken] == [b"first", b"second", b"third", b"fourth"]
    queue.requeue(queue.lease, [entry.tag for entry in reversed(taken)])
    assert server.lrange(KEYS.lists[0], 0, -1) == [b"second", b"first"]
    assert server.lrange(KEYS.lists[3], 0, -1) == [b"fourth", b"third"]


def test_finish_stores_tells_and_acknowledges_and_says_the_same_if_it_is_sent_again(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    queue.start(queue.lease, [entry.tag], CRASH)
    listener = server.pubsub()
    listener.subscribe("key")
    listener.get_message(timeout=1)
    done = [Ack(entry, "key", "result")]

    assert [queue.finish(queue.lease, done) for _ in range(2)] == [[True], [True]]

    assert server.get("key") == b"result"
    assert 55 <= server.ttl("key") <= 60
    message = listener.get_message(timeout=1)
    assert message is not None
    assert message["data"] == b"result"
    assert _everywhere(server) == NOWHERE
    # but another result comes too late
    assert queue.finish(queue.lease, [Ack(entry, "key", "2")]) == [False]
    assert server.get("key") == b"result"
    listener.close()
    # and without a key nothing is stored
    server.delete("key")
    server.lpush("q", "m")
    assert queue.finish(queue.lease, [Ack(*queue.take(1))]) == [True]
    assert server.keys("*") == [KEYS.leases.encode()]


def test_given_back_messages_stand_where_they_stood(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "first", "second", "third")
    taken = queue.take(2)
    queue.start(queue.lease, [taken[0].tag], CRASH)  # but in an orderly stop nobody is to blame

    assert queue.requeue(queue.lease, [entry.tag for entry in reversed(taken)]) == 2

    assert started(server, KEYS) == {}
    assert [entry.message for entry in queue.take(5, 5)] == [b"first", b"second", b"third"]


def test_a_dead_workers_messages_go_back_at_once_and_only_what_it_worked_on_is_suspected(
    server: redis.Redis, queue: RedisQueue, other: RedisQueue
) -> None:
    server.lpush("q", "waiting", "line 1\nline 2")
    _, begun = queue.take(2)
    queue.start(queue.lease, [begun.tag], CRASH)

    look = _lapse(server, queue, other)

    assert (look.reclaimed, look.suspects, look.is_waiting) == (2, 1, True)
    [again] = other.take(5)
    assert (again.message, again.crashes) == (b"waiting", ())
    [suspect] = other.take(5, suspects=1)
    assert (suspect.message, suspect.crashes) == (b"line 1\nline 2", (CRASH,))
    assert server.keys(KEYS.started("*")) == []
    assert server.zrange(KEYS.leases, 0, -1) == [other.lease.name.encode()]


def test_a_worker_whose_lease_lapsed_can_neither_begin_nor_store_and_goes_on_under_a_new_one(
    server: redis.Redis, queue: RedisQueue, other: RedisQueue
) -> None:
    server.lpush("q", "a", "b")
    stale, _ = queue.take(2)
    old = queue.lease
    _lapse(server, queue, other)
    fresh, _ = other.take(2)

    assert queue.start(old, [stale.tag], CRASH) == [False]
    assert queue.finish(old, [Ack(stale, "key", "old")]) == [False]
    assert queue.requeue(old, [stale.tag]) == 0
    assert server.get("key") is None
    assert not old.is_lost  # it has not noticed

    server.lpush("q", "c")
    [entry] = queue.take(1)
    assert old.is_lost
    assert queue.lease is not old
    assert (entry.message, entry.lease) == (b"c", queue.lease)
    assert queue.finish(old, [Ack(entry, "key", "old")]) == [False]
    assert other.finish(other.lease, [Ack(fresh, "key", "new")]) == [True]


def test_a_lease_that_begins_while_its_worker_looks_is_not_taken_for_lost(
    server: redis.Redis, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a look that Redis answers before it knows the lease, and a take in the meantime
    server.lpush("q", "m")
    lease, run = queue.lease, queue.run

    def answer_after_a_take(*call: object) -> object:
        answer = run(*call)  # type: ignore[arg-type]  # handed on as it is
        monkeypatch.setattr(queue, "run", run)
        assert len(queue.take(1)) == 1
        return answer

    monkeypatch.setattr(queue, "run", answer_after_a_take)

    queue.reap(GAP_S)

    assert (queue.lease, lease.is_lost) == (lease, False)


def test_a_lease_that_lapsed_but_nobody_noticed_is_renewed(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "a")
    queue.take(1)
    queue.reap(GAP_S)
    server.zadd(KEYS.leases, {queue.lease.name: 1})

    assert queue.reap(GAP_S).reclaimed == 0

    assert not queue.lease.is_lost
    assert _left_s(server, queue) == pytest.approx(10, abs=2)


def test_a_worker_can_let_its_lease_lapse_at_once_or_soon(
    server: redis.Redis, queue: RedisQueue, other: RedisQueue
) -> None:
    server.lpush("q", "a")
    queue.take(1)
    queue.reap(GAP_S, 3.0)
    assert _left_s(server, queue) == pytest.approx(3, abs=2)
    assert other.reap(GAP_S).reclaimed == 0

    server.delete(KEYS.tick)  # even where nobody has looked for long
    assert queue.reap(GAP_S, 0.0).reclaimed == 1

    assert _everywhere(server) == NOWHERE | {"queue": 1}


def test_crashes_add_up_newest_first_and_survive_an_orderly_stop(
    server: redis.Redis, open_queue: Callable[..., RedisQueue], other: RedisQueue
) -> None:
    second = Crash(at=2.0, together=1, worker="another host")
    server.lpush("q", "m")
    for crash in (CRASH, second):
        queue = open_queue()
        [entry] = queue.take(1, suspects=1)
        queue.start(queue.lease, [entry.tag], crash)
        _lapse(server, queue, other)
    [entry] = other.take(0, suspects=1)
    other.requeue(other.lease, [entry.tag])

    [again] = other.take(0, suspects=1)

    assert again.crashes == (second, CRASH)


@pytest.mark.parametrize("crashes", [(), (CRASH,)])
def test_a_message_that_is_parked_goes_back_unblamed_and_untold(
    server: redis.Redis, queue: RedisQueue, other: RedisQueue, crashes: tuple[Crash, ...]
) -> None:
    if crashes:
        server.lpush(KEYS.suspects, f"q\n1\n{CRASH.encode()}\nm")
    else:
        server.lpush("q", "m")
    [entry] = queue.take(1, suspects=1)
    queue.start(queue.lease, [entry.tag], CRASH)

    assert queue.park(entry, 60.0)

    assert _everywhere(server) == NOWHERE | {"unacked": 1}
    [parked] = _parked(server)
    other.reap(GAP_S)
    server.zadd(KEYS.leases, {parked: 1})
    assert other.reap(GAP_S).reclaimed == 0
    [again] = other.take(1, suspects=1)
    assert (again.message, again.crashes) == (b"m", crashes)


def test_a_message_is_parked_for_so_long_and_later_each_time(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given: it was first put back 7 s ago
    server.lpush("q", "a", "b")
    first, second = queue.take(2)
    first.envelope = second.envelope = Envelope("id")
    assert queue.park(first, 60.0)
    [(_, since)] = server.zrange(KEYS.unknown, 0, -1, withscores=True)
    server.zadd(KEYS.unknown, {"id": since - 7})

    # when it is again, then it pauses for as long
    assert queue.park(second, 60.0)
    assert 6.9 < max(_parked(server).values()) - since < 8 + GAP_S

    # and not any more after that time, whatever was put back once being forgotten
    assert not queue.park(second, 6.0)
    assert server.zcard(KEYS.unknown) == 0


def test_after_a_time_when_nobody_could_renew_all_leases_last_as_long_again(
    server: redis.Redis, queue: RedisQueue, other: RedisQueue
) -> None:
    # given: the last look for lapsed leases is long ago, as after an outage of Redis
    server.lpush("q", "m")
    queue.take(1)
    server.zadd(KEYS.leases, {queue.lease.name: time.time() - 1})
    server.set(KEYS.tick, time.time() - 60)

    assert [other.reap(GAP_S).reclaimed for _ in range(2)] == [0, 0]

    assert _left_s(server, queue) == pytest.approx(GAP_S, abs=2)


@pytest.mark.parametrize(
    ("left_s", "back_s", "then_s"),
    [
        (8.0, 3600.0, 8.0),
        (8.0, 20.0, 8.0),
        (1.0, 9.5, GAP_S),  # no lease ends before it can be renewed
        (10.0, -3600.0, GAP_S),  # it was set forward
    ],
)
def test_where_redis_clock_is_moved_each_lease_lasts_for_what_it_had_left(
    *,
    server: redis.Redis,
    queue: RedisQueue,
    other: RedisQueue,
    left_s: float,
    back_s: float,
    then_s: float,
) -> None:
    server.lpush("q", "m")
    queue.take(1)
    queue.reap(GAP_S, left_s)
    other.take(1)
    redis_clock.set_back(server, KEYS, back_s)

    assert other.reap(GAP_S).reclaimed == 0

    assert _left_s(server, queue) == pytest.approx(then_s, abs=2)
    assert _left_s(server, other) == pytest.approx(10 if back_s > 0 else GAP_S, abs=6)


def test_what_is_no_longer_held_must_not_be_begun(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "a", "b")
    a, b = queue.take(2)
    queue.finish(queue.lease, [Ack(a)])

    assert queue.start(queue.lease, [a.tag, b.tag], CRASH) == [False, True]

    assert started(server, KEYS) == {b.tag.encode(): CRASH.encode().encode()}


def test_a_dead_letter_is_filed_with_its_failure_and_can_be_replayed(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    key = "celery-task-meta-t"

    assert queue.finish(queue.lease, [Ack(entry, key, "failed")], LETTER) == [True]
    assert queue.finish(queue.lease, [Ack(entry, key, "again")], LETTER) == [False]

    assert server.get(key) == b"failed"
    assert _everywhere(server) == NOWHERE
    dead = DeadLetters(server, "redis:", "q")
    assert dead.get("t") == LETTER
    assert dead.replay(["t"]) == []
    assert [entry.message for entry in queue.take(1)] == [b"m"]


@pytest.fixture
def full(redis_server: RedisServer, server: redis.Redis) -> Iterator[redis.Redis]:
    """A Redis that refuses whatever may take memory, once `_fill` is called."""
    yield server
    redis_server.client().config_set("maxmemory", 0)


def _fill(server: redis.Redis) -> None:
    server.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        server.set("any", "thing")


def test_every_script_does_its_work_where_memory_is_full_for_that_frees_messages(
    full: redis.Redis, queue: RedisQueue, other: RedisQueue
) -> None:
    full.lpush("q", *"abcdef")
    other.reap(GAP_S)
    _fill(full)
    queue.probe()
    done, dead, back, parked, begun, _ = queue.take(6)

    assert queue.start(queue.lease, [done.tag, begun.tag], CRASH) == [True, True]
    assert queue.finish(queue.lease, [Ack(done, "k", "x" * 100)]) == [True]
    assert queue.finish(queue.lease, [Ack(dead, "l", "y" * 100)], LETTER) == [True]
    assert queue.requeue(queue.lease, [back.tag]) == 1
    assert queue.park(parked, 60.0)
    look = queue.reap(GAP_S, 0.0)

    assert (look.reclaimed, look.suspects) == (2, 1)
    assert full.mget("k", "l") == [b"x" * 100, b"y" * 100]
    assert _everywhere(full) == NOWHERE | {"queue": 2, "suspects": 1, "unacked": 1}


def test_the_probe_takes_no_message(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "m")

    queue.probe()

    assert _everywhere(server) == NOWHERE | {"queue": 1}
