"""The scripts that move messages, on a real Redis: nothing is lost, nothing is done twice."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import OutOfMemoryError
from support.queue_state import GAP_S, KEYS, NOWHERE, everywhere, lapse, left_s, started, unacked

from clip_worker.redis.dead_letters import DeadLetter, DeadLetters
from worker.delivery.delivery import Ack, Crash, Delivery
from worker.delivery.redis_queue import MOST_BYTES

pytestmark = pytest.mark.integration

CRASH = Crash(at=1.5, together=3, worker="w@h")
LETTER = DeadLetter(
    id="t", task="clip.classify", reason="It.", code="POISON", died_at=3.0, history=(), message="m"
)


def test_what_is_taken_is_the_oldest_and_stays_in_redis_under_a_lease(server, queue, other):
    server.lpush("q", *range(6))

    taken = [*queue.take(2), *queue.take(1), *other.take(2)]

    assert [entry.message for entry in taken] == [b"0", b"1", b"2", b"3", b"4"]
    assert len({entry.tag for entry in taken}) == 5
    assert server.lrange("q", 0, -1) == [b"5"]
    assert server.hlen(KEYS.unacked(queue.lease.name)) == 3
    assert left_s(server, queue) == pytest.approx(10, abs=2)


def test_a_take_that_is_sent_again_gives_what_it_took_and_takes_no_more(server, queue, monkeypatch):
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
    assert everywhere(server) == NOWHERE | {"queue": 2, "unacked": 3}

    # and never puts anything over what is held, even if the first of it has gone back meanwhile
    queue.requeue(queue.lease, [first[0].tag])
    held = {entry.message for entry in (*first[1:], *take_again())}
    assert held == {b"0", b"1", b"2", b"3", b"4"}
    assert unacked(server, KEYS) == 5


def test_a_take_ends_with_the_message_that_brings_it_to_its_bound_of_bytes(server, queue):
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


def test_what_arrived_for_an_idle_worker_is_taken_by_any_and_goes_back_to_its_list(server, queue):
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


def test_finish_stores_tells_and_acknowledges_and_says_the_same_if_it_is_sent_again(server, queue):
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
    assert everywhere(server) == NOWHERE
    # but another result comes too late
    assert queue.finish(queue.lease, [Ack(entry, "key", "2")]) == [False]
    assert server.get("key") == b"result"
    listener.close()
    # and without a key nothing is stored
    server.delete("key")
    server.lpush("q", "m")
    assert queue.finish(queue.lease, [Ack(*queue.take(1))]) == [True]
    assert server.keys("*") == [KEYS.leases.encode()]


def test_given_back_messages_stand_where_they_stood(server, queue):
    server.lpush("q", "first", "second", "third")
    taken = queue.take(2)
    queue.start(queue.lease, [taken[0].tag], CRASH)  # but in an orderly stop nobody is to blame

    assert queue.requeue(queue.lease, [entry.tag for entry in reversed(taken)]) == 2

    assert started(server, KEYS) == {}
    assert [entry.message for entry in queue.take(5, 5)] == [b"first", b"second", b"third"]


def test_crashes_add_up_newest_first_and_survive_an_orderly_stop(server, open_queue, other):
    second = Crash(at=2.0, together=1, worker="another host")
    server.lpush("q", "m")
    for crash in (CRASH, second):
        queue = open_queue()
        [entry] = queue.take(1, suspects=1)
        queue.start(queue.lease, [entry.tag], crash)
        lapse(server, queue, other)
    [entry] = other.take(0, suspects=1)
    other.requeue(other.lease, [entry.tag])

    [again] = other.take(0, suspects=1)

    assert again.crashes == (second, CRASH)


def test_what_is_no_longer_held_must_not_be_begun(server, queue):
    server.lpush("q", "a", "b")
    a, b = queue.take(2)
    queue.finish(queue.lease, [Ack(a)])

    assert queue.start(queue.lease, [a.tag, b.tag], CRASH) == [False, True]

    assert started(server, KEYS) == {b.tag.encode(): CRASH.encode().encode()}


def test_a_dead_letter_is_filed_with_its_failure_and_can_be_replayed(server, queue):
    server.lpush("q", "m")
    [entry] = queue.take(1)
    key = "celery-task-meta-t"

    assert queue.finish(queue.lease, [Ack(entry, key, "failed")], LETTER) == [True]
    assert queue.finish(queue.lease, [Ack(entry, key, "again")], LETTER) == [False]

    assert server.get(key) == b"failed"
    assert everywhere(server) == NOWHERE
    dead = DeadLetters(server, "redis:", "q")
    assert dead.get("t") == LETTER
    assert dead.replay(["t"]) == []
    assert [entry.message for entry in queue.take(1)] == [b"m"]


@pytest.fixture
def full(redis_server, server):
    """A Redis that refuses whatever may take memory, once `_fill` is called."""
    yield server
    redis_server.client().config_set("maxmemory", 0)


def _fill(server: redis.Redis) -> None:
    server.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        server.set("any", "thing")


def test_every_script_does_its_work_where_memory_is_full_for_that_frees_messages(
    full, queue, other
):
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
    assert everywhere(full) == NOWHERE | {"queue": 2, "suspects": 1, "unacked": 1}


def test_the_probe_takes_no_message(server, queue):
    server.lpush("q", "m")

    queue.probe()

    assert everywhere(server) == NOWHERE | {"queue": 1}
