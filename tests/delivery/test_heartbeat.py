"""A worker that stood still for longer than its leases last, on a real Redis."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest
import redis
from redis.exceptions import ConnectionError as LostConnectionError

from worker.delivery.envelope import Envelope
from worker.delivery.heartbeat import Heartbeat
from worker.delivery.in_flight import Delivery, InFlight
from worker.delivery.keys import QueueKeys
from worker.delivery.lease_clock import lease_clock
from worker.delivery.redis_queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

KEYS = QueueKeys("q")
LEASE_S = 10.0


class Worker:
    """What keeps leases, with a clock that the test sets."""

    def __init__(self, client: redis.Redis) -> None:
        self.now_s = 1000.0
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
            clock=lambda: self.now_s,
        )

    def _lost(self, delivery: Delivery) -> None:
        self.in_flight.claim(delivery)
        self.in_flight.remove([delivery])

    def take(self) -> list[Delivery]:
        return self.in_flight.add(
            [
                Delivery(
                    self.queue,
                    Envelope("id", "t", {}, {}),
                    entry.message,
                    entry.crashes,
                    [entry.tag],
                    held_until=entry.held_until,
                )
                for entry in self.queue.take(8)
            ]
        )


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def worker(server: redis.Redis) -> Worker:
    return Worker(server)


def _others_take_over(server: redis.Redis, *deliveries: Delivery) -> list[bytes]:
    """Leases run out by Redis's clock, and another worker takes what they were for."""
    other = RedisQueue(server, KEYS, lease_s=LEASE_S, result_ttl_s=60)
    other.reap(LEASE_S)
    other.extend([tag for delivery in deliveries for tag in delivery.tags], -1)
    other.reap(LEASE_S)
    return [entry.message for entry in other.take(8)]


def test_within_the_lease_nobody_is_asked(worker: Worker, server: redis.Redis) -> None:
    server.lpush("q", "m")
    [delivery] = worker.take()
    server.flushall()

    worker.now_s += LEASE_S - 0.1

    assert worker.heartbeat.holds(delivery)


def test_after_the_lease_what_others_have_is_dropped_and_the_rest_goes_on(
    worker: Worker, server: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    server.lpush("q", "a", "b", "c")
    theirs, ours, ended = worker.take()
    worker.in_flight.claim(ended)
    assert _others_take_over(server, theirs) == [b"a"]
    worker.now_s += LEASE_S

    with caplog.at_level(logging.WARNING):
        assert not worker.heartbeat.holds(theirs)

    assert worker.in_flight.all() == [ours, ended]
    assert "Dropped 1 messages that are other workers' now" in caplog.text
    # and Redis has been asked for all at once, so not again
    server.flushall()
    assert worker.heartbeat.holds(ours)
    assert not worker.heartbeat.holds(ended)


def test_the_threads_own_renewal_finds_it_too(worker: Worker, server: redis.Redis) -> None:
    server.lpush("q", "a", "b")
    theirs, ours = worker.take()
    _others_take_over(server, theirs)
    worker.now_s += LEASE_S

    worker.heartbeat.turn()

    assert worker.in_flight.all() == [ours]
    worker.now_s += LEASE_S - 0.1
    server.flushall()
    assert worker.heartbeat.holds(ours)


def test_a_message_that_came_again_to_the_same_worker_is_still_its_own(
    worker: Worker, server: redis.Redis
) -> None:
    server.lpush("q", "m")
    [delivery] = worker.take()
    worker.queue.reap(LEASE_S)
    worker.queue.extend(delivery.tags, -1)
    worker.queue.reap(LEASE_S)
    assert worker.take() == []
    assert len(delivery.tags) == 2
    worker.now_s += LEASE_S

    assert worker.heartbeat.holds(delivery)


def test_where_redis_is_away_nothing_is_begun_until_it_is_back(
    worker: Worker, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lpush("q", "m")
    [delivery] = worker.take()
    worker.now_s += LEASE_S
    renew, failures = worker.queue.renew, [LostConnectionError("It is away.")] * 2

    def try_to_renew(tags: object) -> set[str]:
        if failures:
            raise failures.pop()
        return renew(tags)  # type: ignore[arg-type]

    monkeypatch.setattr(worker.queue, "renew", try_to_renew)

    assert worker.heartbeat.holds(delivery)

    assert not failures
    failures.append(LostConnectionError("It is away."))
    worker.now_s += LEASE_S
    with pytest.raises(LostConnectionError):
        worker.heartbeat.make_sure(delivery)


def test_a_take_whose_reply_was_lost_counts_its_lease_from_when_it_was_first_sent(
    worker: Worker, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lpush("q", "m")
    run = worker.queue._run

    def lose_the_reply(*args: object) -> object:
        run(*args)  # type: ignore[arg-type]
        raise LostConnectionError("Its reply was lost.")

    monkeypatch.setattr(worker.queue, "_run", lose_the_reply)
    with pytest.raises(LostConnectionError):
        worker.take()
    monkeypatch.setattr(worker.queue, "_run", run)
    worker.now_s += 4

    [delivery] = worker.take()

    assert delivery.held_until == 1000 + LEASE_S


def test_the_clock_goes_on_and_is_that_of_a_machine_that_may_sleep() -> None:
    assert 0 <= lease_clock() - lease_clock() + 1 <= 1
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert lease_clock() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
