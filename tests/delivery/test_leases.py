"""Leases, on a real Redis: when they lapse, what is reclaimed then, and parked messages."""

from __future__ import annotations

import time

import pytest
import redis
from support import redis_clock
from support.queue_state import GAP_S, KEYS, NOWHERE, everywhere, lapse, left_s

from clip_worker.contract.message_reader import Envelope
from worker.delivery.delivery import Ack, Crash

pytestmark = pytest.mark.integration

CRASH = Crash(at=1.5, together=3, worker="w@h")


def _parked(server: redis.Redis) -> dict[bytes, float]:
    leases = server.zrange(KEYS.leases, 0, -1, withscores=True)
    return {name: ends for name, ends in leases if name.startswith(b"parked:")}


def test_a_dead_workers_messages_go_back_at_once_and_only_what_it_worked_on_is_suspected(
    server, queue, other
):
    server.lpush("q", "waiting", "line 1\nline 2")
    _, begun = queue.take(2)
    queue.start(queue.lease, [begun.tag], CRASH)

    look = lapse(server, queue, other)

    assert (look.reclaimed, look.suspects, look.is_waiting) == (2, 1, True)
    [again] = other.take(5)
    assert (again.message, again.crashes) == (b"waiting", ())
    [suspect] = other.take(5, suspects=1)
    assert (suspect.message, suspect.crashes) == (b"line 1\nline 2", (CRASH,))
    assert server.keys(KEYS.started("*")) == []
    assert server.zrange(KEYS.leases, 0, -1) == [other.lease.name.encode()]


def test_a_worker_whose_lease_lapsed_can_neither_begin_nor_store_and_goes_on_under_a_new_one(
    server, queue, other
):
    server.lpush("q", "a", "b")
    stale, _ = queue.take(2)
    old = queue.lease
    lapse(server, queue, other)
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
    server, queue, monkeypatch
):
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


def test_a_lease_that_lapsed_but_nobody_noticed_is_renewed(server, queue):
    server.lpush("q", "a")
    queue.take(1)
    queue.reap(GAP_S)
    server.zadd(KEYS.leases, {queue.lease.name: 1})

    assert queue.reap(GAP_S).reclaimed == 0

    assert not queue.lease.is_lost
    assert left_s(server, queue) == pytest.approx(10, abs=2)


def test_a_worker_can_let_its_lease_lapse_at_once_or_soon(server, queue, other):
    server.lpush("q", "a")
    queue.take(1)
    queue.reap(GAP_S, 3.0)
    assert left_s(server, queue) == pytest.approx(3, abs=2)
    assert other.reap(GAP_S).reclaimed == 0

    server.delete(KEYS.tick)  # even where nobody has looked for long
    assert queue.reap(GAP_S, 0.0).reclaimed == 1

    assert everywhere(server) == NOWHERE | {"queue": 1}


@pytest.mark.parametrize("crashes", [(), (CRASH,)])
def test_a_message_that_is_parked_goes_back_unblamed_and_untold(server, queue, other, crashes):
    if crashes:
        server.lpush(KEYS.suspects, f"q\n1\n{CRASH.encode()}\nm")
    else:
        server.lpush("q", "m")
    [entry] = queue.take(1, suspects=1)
    queue.start(queue.lease, [entry.tag], CRASH)

    assert queue.park(entry, 60.0)

    assert everywhere(server) == NOWHERE | {"unacked": 1}
    [parked] = _parked(server)
    other.reap(GAP_S)
    server.zadd(KEYS.leases, {parked: 1})
    assert other.reap(GAP_S).reclaimed == 0
    [again] = other.take(1, suspects=1)
    assert (again.message, again.crashes) == (b"m", crashes)


def test_a_message_is_parked_for_so_long_and_later_each_time(server, queue):
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


def test_after_a_time_when_nobody_could_renew_all_leases_last_as_long_again(server, queue, other):
    # given: the last look for lapsed leases is long ago, as after an outage of Redis
    server.lpush("q", "m")
    queue.take(1)
    server.zadd(KEYS.leases, {queue.lease.name: time.time() - 1})
    server.set(KEYS.tick, time.time() - 60)

    assert [other.reap(GAP_S).reclaimed for _ in range(2)] == [0, 0]

    assert left_s(server, queue) == pytest.approx(GAP_S, abs=2)


@pytest.mark.parametrize(
    ("rest_s", "back_s", "then_s"),
    [
        (8.0, 3600.0, 8.0),
        (8.0, 20.0, 8.0),
        (1.0, 9.5, GAP_S),  # no lease ends before it can be renewed
        (10.0, -3600.0, GAP_S),  # it was set forward
    ],
)
def test_where_redis_clock_is_moved_each_lease_lasts_for_what_it_had_left(
    *, server, queue, other, rest_s, back_s, then_s
):
    server.lpush("q", "m")
    queue.take(1)
    queue.reap(GAP_S, rest_s)
    other.take(1)
    redis_clock.set_back(server, KEYS, back_s)

    assert other.reap(GAP_S).reclaimed == 0

    assert left_s(server, queue) == pytest.approx(then_s, abs=2)
    assert left_s(server, other) == pytest.approx(10 if back_s > 0 else GAP_S, abs=6)
