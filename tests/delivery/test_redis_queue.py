"""The scripts that move messages, on a real Redis: nothing is lost, nothing is done twice."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest
import redis
from redis.exceptions import OutOfMemoryError
from support import redis_clock

from worker.delivery.keys import QueueKeys
from worker.delivery.redis_queue import MOST_BYTES, Finished, RedisQueue
from worker.delivery.unacked_entry import Crash
from worker.redis.dead_letters import DeadLetter, DeadLetters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer

    from worker.delivery.unacked_entry import UnackedEntry

pytestmark = pytest.mark.integration

KEYS = QueueKeys("q")
CRASH = Crash(at=1.5, together=3, worker="w@h")
GAP_S = 5.0


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def queue(server: redis.Redis) -> RedisQueue:
    return RedisQueue(server, KEYS, lease_s=10, result_ttl_s=60)


def _let_leases_run_out(server: redis.Redis, queue: RedisQueue, *tags: str) -> None:
    queue.reap(GAP_S)  # somebody has looked just now
    queue.extend(tags, -1)
    assert server.zcount(KEYS.leases, "-inf", time.time()) == len(tags)


def _everywhere(server: redis.Redis) -> dict[str, int]:
    return {
        "queue": server.llen("q"),
        "returned": server.llen(KEYS.returned),
        "unacked": server.hlen(KEYS.unacked),
        "leases": server.zcard(KEYS.leases),
        "started": server.hlen(KEYS.started),
    }


class Clock:
    """Stands still unless it is moved."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


NOWHERE = {"queue": 0, "returned": 0, "unacked": 0, "leases": 0, "started": 0}


def test_what_is_taken_is_the_oldest_and_stays_in_redis_under_a_lease(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "first", "second", "third")

    taken = queue.take(2)

    assert [entry.message for entry in taken] == [b"first", b"second"]
    assert server.lrange("q", 0, -1) == [b"third"]
    assert server.hlen(KEYS.unacked) == 2
    [expiry] = {round(score) for _, score in server.zrange(KEYS.leases, 0, -1, withscores=True)}
    assert expiry == pytest.approx(time.time() + 10, abs=2)


def test_more_urgent_lists_are_taken_first(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush(KEYS.lists[3], "later")
    server.lpush(KEYS.lists[0], "now")

    assert [entry.message for entry in queue.take(5)] == [b"now", b"later"]


def test_each_delivery_has_a_tag_of_its_own(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", *range(6))
    other = RedisQueue(server, KEYS, lease_s=10, result_ttl_s=60)

    tags = {e.tag for e in (*queue.take(2), *queue.take(2), *other.take(2))}

    assert len(tags) == 6


def test_a_take_that_is_sent_again_gives_what_it_took_and_takes_no_more(
    server: redis.Redis, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: redis-py sends a command again, word for word, if the reply was lost
    server.lpush("q", *range(5))
    monkeypatch.setattr(queue, "_takes", itertools.repeat(7))
    first = queue.take(3)

    again = queue.take(3)

    assert [(e.tag, e.message) for e in again] == [(e.tag, e.message) for e in first]
    assert server.llen("q") == 2
    assert server.hlen(KEYS.unacked) == 3


def test_a_take_never_overwrites_what_is_held(
    server: redis.Redis, queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: as above, and the first of what it took has been returned meanwhile
    server.lpush("q", *range(5))
    monkeypatch.setattr(queue, "_takes", itertools.repeat(7))
    first, *others = queue.take(3)
    queue.give_back([first.tag])

    again = queue.take(3)

    held = {entry.message for entry in (*others, *again)}
    assert held == {b"0", b"1", b"2", b"3", b"4"}
    assert server.hlen(KEYS.unacked) == 5


def test_a_take_that_arrives_when_it_was_given_up_takes_nothing(server: redis.Redis) -> None:
    # given: what Redis's clock says is known since the first
    clock = Clock()
    queue = RedisQueue(server, KEYS, lease_s=10, result_ttl_s=60, clock=clock)
    queue.take(1)
    server.lpush("q", "a")
    # when one is as late as if it had been sent a minute ago
    clock.now_s -= 60
    late = queue.take(1)
    # then
    assert late == []
    assert _everywhere(server) == NOWHERE | {"queue": 1}
    # and what Redis's clock says is known anew
    assert [entry.message for entry in queue.take(1)] == [b"a"]


def test_finish_stores_tells_and_lets_go(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    queue.start([entry.tag], CRASH)
    listener = server.pubsub()
    listener.subscribe("key")
    listener.get_message(timeout=1)

    held = queue.finish([Finished(entry.tag, "key", "result")])

    assert held == [True]
    assert server.get("key") == b"result"
    assert 55 <= server.ttl("key") <= 60
    message = listener.get_message(timeout=1)
    assert message is not None
    assert message["data"] == b"result"
    assert _everywhere(server) == NOWHERE
    listener.close()


def test_without_a_key_nothing_is_stored(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)

    assert queue.finish([Finished(entry.tag)]) == [True]

    assert server.keys("*") == []


def test_the_result_of_a_message_that_is_anothers_now_is_not_stored(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given: the lease ran out and another worker took the message
    server.lpush("q", "m")
    [stale] = queue.take(1)
    _let_leases_run_out(server, queue, stale.tag)
    queue.reap(GAP_S)
    [fresh] = queue.take(1)

    assert queue.finish([Finished(stale.tag, "key", "old")]) == [False]

    assert server.get("key") is None
    assert queue.finish([Finished(fresh.tag, "key", "new")]) == [True]


def test_finishing_twice_is_finishing_once(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)

    first = queue.finish([Finished(entry.tag, "key", "1")])
    again = queue.finish([Finished(entry.tag, "key", "2")])

    assert (first, again) == ([True], [False])
    assert server.get("key") == b"1"


def test_a_finish_that_is_sent_again_says_that_it_was_done(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "a")
    done = [Finished(entry.tag, "key", "1") for entry in queue.take(1)]
    assert [queue.finish(done) for _ in range(2)] == [[True], [True]]
    assert server.get("key") == b"1"


def test_given_back_messages_stand_where_they_stood(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "first", "second", "third")
    taken = queue.take(2)
    queue.start([taken[0].tag], CRASH)  # begun, but in an orderly stop nobody is to blame

    queue.give_back([entry.tag for entry in reversed(taken)])

    assert [entry.message for entry in queue.take(5, 5)] == [b"first", b"second", b"third"]
    assert server.hlen(KEYS.started) == 0


def test_a_dead_workers_waiting_message_goes_back_unblamed(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    _let_leases_run_out(server, queue, entry.tag)

    assert queue.reap(GAP_S) == (1, 0)

    [again] = queue.take(1)
    assert (again.message, again.crashes) == (b"m", ())


def test_a_dead_workers_begun_message_carries_its_crash_and_goes_apart(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "line 1\nline 2")
    [entry] = queue.take(1)
    queue.start([entry.tag], CRASH)
    _let_leases_run_out(server, queue, entry.tag)

    assert queue.reap(GAP_S) == (1, 1)

    assert queue.take(1) == []
    [again] = queue.take(1, suspects=1)
    assert (again.message, again.crashes) == (b"line 1\nline 2", (CRASH,))


def test_crashes_add_up_newest_first_and_survive_an_orderly_stop(
    server: redis.Redis, queue: RedisQueue
) -> None:
    second = Crash(at=2.0, together=1, worker="another host")
    server.lpush("q", "m")
    [entry] = queue.take(1)
    for crash in (CRASH, second):
        queue.start([entry.tag], crash)
        _let_leases_run_out(server, queue, entry.tag)
        queue.reap(GAP_S)
        [entry] = queue.take(0, suspects=1)
    queue.give_back([entry.tag])

    [again] = queue.take(0, suspects=1)

    assert again.crashes == (second, CRASH)


def test_a_message_that_is_put_back_is_unblamed_and_untold(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    queue.reap(GAP_S)

    assert queue.put_back([entry.tag], "id", 60.0)

    _let_leases_run_out(server, queue, entry.tag)
    assert queue.reap(GAP_S) == (0, 0)
    [again] = queue.take(1)
    assert (again.message, again.crashes) == (b"m", ())
    assert server.hlen(KEYS.started) == 0


def test_a_message_that_is_put_back_keeps_its_crashes(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    queue.start([entry.tag], CRASH)
    _let_leases_run_out(server, queue, entry.tag)
    queue.reap(GAP_S)
    [entry] = queue.take(0, suspects=1)

    assert queue.put_back([entry.tag], "id", 60.0)

    _let_leases_run_out(server, queue, entry.tag)
    assert queue.reap(GAP_S) == (0, 0)
    [again] = queue.take(1, suspects=1)
    assert (again.message, again.crashes) == (b"m", (CRASH,))


def test_a_message_is_put_back_for_so_long_and_later_each_time(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given: it was first put back 7 s ago
    server.lpush("q", "m")
    [entry] = queue.take(1)
    assert queue.put_back([entry.tag], "id", 60.0)
    [(_, first)] = server.zrange(KEYS.unknown, 0, -1, withscores=True)
    server.zadd(KEYS.unknown, {"id": first - 7})

    # when it is again, then it pauses for as long
    assert queue.put_back([entry.tag], "id", 60.0)
    [(_, then)] = server.zrange(KEYS.leases, 0, -1, withscores=True)
    assert 6.9 < then - first < 7 + GAP_S

    # and not any more after that time, whatever was put back once being forgotten
    assert not queue.put_back([entry.tag], "id", 6.0)
    assert server.zcard(KEYS.unknown) == 0
    assert server.hlen(KEYS.unacked) == 1


def test_a_renewed_lease_does_not_run_out(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "a", "b")
    a, b = queue.take(2)
    _let_leases_run_out(server, queue, a.tag, b.tag)
    queue.renew([a.tag])

    assert queue.reap(GAP_S) == (1, 0)

    assert [entry.message for entry in queue.take(5)] == [b"b"]


def test_renewing_does_not_bring_back_what_is_done(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    queue.finish([Finished(entry.tag)])

    queue.renew([entry.tag])

    assert _everywhere(server) == NOWHERE


def test_after_a_time_when_nobody_could_renew_all_leases_last_as_long_again(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given: the last look for leases that ran out is long ago, as after an outage of Redis
    server.lpush("q", "m")
    [entry] = queue.take(1)
    _let_leases_run_out(server, queue, entry.tag)
    server.set(KEYS.tick, time.time() - 60)

    assert queue.reap(GAP_S) == (0, 0)

    assert server.zscore(KEYS.leases, entry.tag) == pytest.approx(time.time() + GAP_S, abs=2)
    assert queue.reap(GAP_S) == (0, 0)


def _left_s(server: redis.Redis, *entries: UnackedEntry) -> list[float]:
    now = time.time()
    return [(server.zscore(KEYS.leases, entry.tag) or 0) - now for entry in entries]


@pytest.mark.parametrize("back_s", [3600, 20])
def test_where_redis_clock_is_set_back_each_lease_lasts_for_what_it_had_left(
    server: redis.Redis, queue: RedisQueue, back_s: float
) -> None:
    # given a message of a dead worker, and one that is held and was renewed since
    server.lpush("q", "dead", "held")
    dead, held = queue.take(2)
    queue.extend([dead.tag], 8)
    queue.reap(GAP_S)
    redis_clock.set_back(server, KEYS, back_s)
    queue.renew([held.tag])

    assert queue.reap(GAP_S) == (0, 0)

    assert _left_s(server, dead, held) == pytest.approx([8, 10], abs=2)


def test_where_redis_clock_is_set_back_a_little_no_lease_ends_before_it_can_be_renewed(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "old", "new")
    old, new = queue.take(2)
    queue.extend([old.tag], 1)
    queue.reap(GAP_S)
    redis_clock.set_back(server, KEYS, 9.5)
    queue.renew([new.tag])

    assert queue.reap(GAP_S) == (0, 0)

    assert _left_s(server, old, new) == pytest.approx([GAP_S, GAP_S], abs=2)


def test_where_redis_clock_is_set_forward_every_lease_can_still_be_renewed(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    queue.reap(GAP_S)
    redis_clock.set_back(server, KEYS, -3600)

    assert queue.reap(GAP_S) == (0, 0)

    assert _left_s(server, entry) == pytest.approx([GAP_S], abs=2)


def test_what_is_no_longer_held_must_not_be_begun(server: redis.Redis, queue: RedisQueue) -> None:
    server.lpush("q", "a", "b")
    a, b = queue.take(2)
    queue.finish([Finished(a.tag)])

    assert queue.start([a.tag, b.tag], CRASH) == [False, True]

    assert server.hkeys(KEYS.started) == [b.tag.encode()]


def test_a_buried_message_is_a_dead_letter_and_a_failure_and_can_be_replayed(
    server: redis.Redis, queue: RedisQueue
) -> None:
    server.lpush("q", "m")
    [entry] = queue.take(1)
    letter = DeadLetter(
        id="t", task="clip.classify", reason="It.", code="POISON", died_at=3.0, history=(),
        message="m",
    )  # fmt: skip

    assert queue.bury(letter, Finished(entry.tag, "celery-task-meta-t", "failed"))
    assert not queue.bury(letter, Finished(entry.tag, "celery-task-meta-t", "again"))

    assert server.get("celery-task-meta-t") == b"failed"
    assert _everywhere(server) == NOWHERE
    dead = DeadLetters(server, "redis:", "q")
    assert dead.get("t") == letter
    assert dead.replay(["t"]) == []
    assert [entry.message for entry in queue.take(1)] == [b"m"]


@pytest.fixture
def full(redis_server: RedisServer, server: redis.Redis) -> Iterator[redis.Redis]:
    """A Redis that refuses whatever may take memory, once `fill` is called."""
    yield server
    redis_server.client().config_set("maxmemory", 0)


def _fill(server: redis.Redis) -> None:
    server.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        server.set("any", "thing")


def test_results_are_stored_where_memory_is_full_for_that_frees_their_messages(
    full: redis.Redis, queue: RedisQueue
) -> None:
    full.lpush("q", "a", "b")
    _fill(full)
    a, b = queue.take(2)

    assert queue.start([a.tag, b.tag], CRASH) == [True, True]
    done = [Finished(a.tag, "ka", "x" * 100), Finished(b.tag, "kb", "y" * 100)]
    assert queue.finish(done) == [True, True]

    assert full.mget("ka", "kb") == [b"x" * 100, b"y" * 100]
    assert _everywhere(full) == NOWHERE


def test_leases_are_renewed_and_run_out_where_memory_is_full(
    full: redis.Redis, queue: RedisQueue
) -> None:
    full.lpush("q", "a", "b", "c")
    kept, dead, parked = queue.take(3)
    queue.start([dead.tag], CRASH)
    _fill(full)
    _let_leases_run_out(full, queue, kept.tag, dead.tag)
    queue.renew([kept.tag])
    assert queue.put_back([parked.tag], "id", 60.0)
    queue.extend([parked.tag], -1)

    assert queue.reap(GAP_S) == (1, 1)

    assert _everywhere(full) == NOWHERE | {"queue": 1, "returned": 1, "unacked": 1, "leases": 1}


def test_messages_are_given_back_or_given_up_where_memory_is_full(
    full: redis.Redis, queue: RedisQueue
) -> None:
    full.lpush("q", "a", "b")
    a, b = queue.take(2)
    _fill(full)
    letter = DeadLetter(
        id="t", task="clip.classify", reason="It.", code="POISON", died_at=3.0, history=(),
        message="m",
    )  # fmt: skip

    assert queue.bury(letter, Finished(a.tag, "celery-task-meta-t", "failed"))
    assert queue.give_back([b.tag]) == 1

    assert full.get("celery-task-meta-t") == b"failed"
    assert _everywhere(full) == NOWHERE | {"queue": 1}


def test_a_full_redis_passes_the_probe(full: redis.Redis, queue: RedisQueue) -> None:
    _fill(full)

    queue.probe()


def test_the_probe_leaves_nothing_behind(server: redis.Redis, queue: RedisQueue) -> None:
    queue.probe()

    assert server.keys("*") == []


def test_what_arrived_for_an_idle_worker_is_taken_by_any_and_goes_back_to_its_list(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given what waits have moved, the oldest of their lists
    server.lpush(KEYS.lists[0], "second")
    server.lpush(KEYS.lists[3], "fourth")
    server.lpush(KEYS.arrived[3], "third")
    server.lpush(KEYS.arrived[0], "first")

    taken = queue.take(5)

    assert [entry.message for entry in taken] == [b"first", b"second", b"third", b"fourth"]
    queue.give_back([entry.tag for entry in reversed(taken)])
    assert server.lrange(KEYS.lists[0], 0, -1) == [b"second", b"first"]
    assert server.lrange(KEYS.lists[3], 0, -1) == [b"fourth", b"third"]


def test_a_take_ends_with_the_message_that_brings_it_to_its_bound_of_bytes(
    server: redis.Redis, queue: RedisQueue
) -> None:
    # given: pictures that stand in their messages, and a suspect as large
    large = b"x" * (MOST_BYTES // 2)
    for _ in range(5):
        server.lpush("q", large)
    server.lpush(KEYS.returned, b"q\n1\n1.0 1 gone\n" + large)
    # when
    counts = [len(queue.take(100, suspects=5)) for _ in range(4)]
    # then
    assert counts == [2, 2, 2, 0]
    assert server.hlen(KEYS.unacked) == 6
