"""A worker that stood still for longer than its lease, and what it looks for, on a real Redis."""

from __future__ import annotations

import logging
import time

import pytest
import redis
from redis.exceptions import ConnectionError as LostConnectionError
from support.queue_state import KEYS, unacked

from worker.delivery.delivery import Delivery, lease_clock
from worker.delivery.heartbeat import USUAL_PAUSE_S, Heartbeat
from worker.delivery.in_flight import InFlight
from worker.delivery.redis_queue import RedisQueue

pytestmark = pytest.mark.integration

LEASE_S = 10.0


class Worker:
    """What renews a lease, with a clock that the test sets."""

    def __init__(self, client: redis.Redis) -> None:
        self.now_s = 1000.0
        self.woken = 0
        self.queue = RedisQueue(
            client, KEYS, lease_s=LEASE_S, result_ttl_s=60, clock=lambda: self.now_s
        )
        self.in_flight = InFlight()
        self.heartbeat = Heartbeat(
            [self.queue],
            self.in_flight,
            lease_s=LEASE_S,
            watch=lambda: None,
            lost=self._lost,
            wake=self._wake,
            clock=lambda: self.now_s,
        )

    def _lost(self, delivery: Delivery) -> None:
        self.in_flight.claim([delivery])
        self.in_flight.remove([delivery])

    def _wake(self) -> None:
        self.woken += 1

    def take(self) -> list[Delivery]:
        return self.in_flight.add(self.queue.take(8))[0]


@pytest.fixture
def worker(server: redis.Redis) -> Worker:
    return Worker(server)


@pytest.fixture
def other(server: redis.Redis) -> Worker:
    return Worker(server)


def _take_over(server: redis.Redis, worker: Worker, other: Worker) -> list[bytes]:
    """A worker's lease lapses by Redis's clock, and another worker takes its messages."""
    other.queue.reap(LEASE_S)
    server.zadd(KEYS.leases, {worker.queue.lease.name: 1})
    other.queue.reap(LEASE_S)
    return sorted(delivery.message for delivery in other.take())


def test_within_the_lease_nobody_is_asked(worker: Worker, server: redis.Redis) -> None:
    server.lpush("q", "m")
    [delivery] = worker.take()
    server.flushall()

    worker.now_s += LEASE_S - 0.1

    assert worker.heartbeat.holds(delivery)


def test_after_the_lease_what_others_have_is_dropped_and_what_comes_then_is_not(
    worker: Worker, other: Worker, server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    server.lpush("q", "a", "b", "c")
    first, second, ended = worker.take()
    worker.in_flight.claim([ended])
    assert _take_over(server, worker, other) == [b"a", b"b", b"c"]
    worker.now_s += LEASE_S

    with caplog.at_level(logging.WARNING):
        assert not worker.heartbeat.holds(first)

    assert worker.in_flight.all() == [ended]  # whoever ends that sees to it
    assert second.ended
    assert "Dropped 2 messages that other workers have now" in caplog.text
    server.lpush("q", "d")
    [delivery] = worker.take()
    assert worker.heartbeat.holds(delivery)


def test_where_nobody_has_taken_them_all_go_on(worker: Worker, server: redis.Redis) -> None:
    server.lpush("q", "a", "b")
    deliveries = worker.take()
    worker.now_s += 10 * LEASE_S

    assert worker.heartbeat.holds(deliveries[0])

    # and Redis has been asked for both of them
    server.flushall()
    assert worker.heartbeat.holds(deliveries[1])


def test_the_threads_own_look_finds_it_too(
    worker: Worker, other: Worker, server: redis.Redis
) -> None:
    server.lpush("q", "a", "b")
    worker.take()
    old = worker.queue.lease
    worker.heartbeat.turn()
    assert worker.queue.lease is old
    _take_over(server, worker, other)

    worker.heartbeat.turn()

    assert worker.in_flight.all() == []
    now = worker.queue.lease
    assert (old.is_lost, now.is_lost, now.is_new) == (True, False, True)
    assert server.zscore(KEYS.leases, old.name) is None


def test_where_redis_is_away_nothing_is_begun_until_it_is_back(
    worker: Worker, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lpush("q", "m")
    [delivery] = worker.take()
    worker.now_s += LEASE_S
    reap, failures = worker.queue.reap, [LostConnectionError("It is away.")] * 2

    def try_to_reap(gap_s: float) -> object:
        if failures:
            raise failures.pop()
        return reap(gap_s)

    monkeypatch.setattr(worker.queue, "reap", try_to_reap)

    assert worker.heartbeat.holds(delivery)

    assert not failures


def test_what_redis_holds_for_this_worker_and_nobody_works_on_goes_back(
    worker: Worker, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a message whose take was answered too late, one that is worked on, and one that could
    # not be requeued
    run = worker.queue.run

    def lose_the_reply(*args: object) -> object:
        run(*args)  # type: ignore[arg-type]
        raise LostConnectionError("Its reply was lost.")

    server.lpush("q", "late")
    with monkeypatch.context() as patch:
        patch.setattr(worker.queue, "run", lose_the_reply)
        with pytest.raises(LostConnectionError):
            worker.take()
    server.zadd(KEYS.leases, {worker.queue.lease.name: time.time() + 1})
    server.lpush("q", "kept", "forgotten")
    kept, forgotten = worker.take()
    left_s = float(server.zscore(KEYS.leases, kept.lease.name) or 0) - time.time()
    assert left_s == pytest.approx(LEASE_S, abs=2)  # it counts from the take that was answered
    worker.in_flight.claim([forgotten])
    worker.in_flight.remove([forgotten])
    # when it is found in two looks in a row
    for left in (3, 1):
        assert unacked(server, KEYS) == 3
        worker.now_s += LEASE_S
        worker.heartbeat.turn()
        assert unacked(server, KEYS) == left
    # then
    assert set(server.lrange("q", 0, -1)) == {b"late", b"forgotten"}
    assert worker.heartbeat.holds(kept)


def test_what_arrived_for_a_worker_that_died_wakes_whoever_looks(
    worker: Worker, server: redis.Redis
) -> None:
    worker.heartbeat.turn()
    assert worker.woken == 0
    server.lpush(KEYS.arrived[0], "m")

    worker.heartbeat.turn()

    assert worker.woken == 1


def test_the_more_workers_look_the_seldomer_each_does(
    server: redis.Redis,
) -> None:
    workers = [Worker(server) for _ in range(3)]
    for _ in range(20):
        for each in workers:
            each.heartbeat.turn()
    assert all(each.heartbeat.pause_s == 3 * LEASE_S for each in workers)
    # but one that holds messages looks in time to renew its lease
    server.lpush("q", "m")
    workers[1].take()
    for each in workers:
        each.now_s += LEASE_S / 3
    assert [each.heartbeat.is_due() for each in workers] == [False, True, False]
    # and a worker that is left alone looks often again
    for _ in range(10):
        server.set(KEYS.tick, time.time() - 1)
        workers[0].heartbeat.turn()
    assert workers[0].heartbeat.pause_s == USUAL_PAUSE_S


def test_the_clock_goes_on_and_is_that_of_a_machine_that_may_sleep() -> None:
    assert 0 <= lease_clock() - lease_clock() + 1 <= 1
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert lease_clock() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
