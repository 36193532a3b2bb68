"""Tenants take turns in `take`, on a real Redis; nothing of a tenant is left without messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.queue_state import GAP_S, KEYS, lapse
from support.tenant_messages import arrive, push, push_very_many, tenant_message, waiting

from clip_worker.redis.dead_letters import DeadLetter, DeadLetters
from worker.delivery.delivery import Ack, Crash, Delivery
from worker.delivery.redis_queue import MOST_BYTES, MOST_SORTED, RedisQueue

if TYPE_CHECKING:
    from collections.abc import Sequence


pytestmark = pytest.mark.integration

BATCH = 64
MANY = 1_000_000


def named(deliveries: Sequence[Delivery]) -> list[str]:
    """What was taken, as `tenant_message` names it."""
    return [json.loads(each.message)["headers"]["id"] for each in deliveries]


def finish(queue: RedisQueue, taken: Sequence[Delivery]) -> None:
    queue.finish(queue.lease, [Ack(each) for each in taken])


def test_tenants_of_unequal_sizes_take_turns_until_each_has_none(server, queue):
    push(server, "large", 5)
    push(server, "small", 1)
    push(server, "middle", 3)

    taken = named(queue.take(100))

    assert taken == [
        *("large-0", "small-0", "middle-0", "large-1", "middle-1", "large-2", "middle-2"),
        *("large-3", "large-4"),
    ]


def test_the_turns_go_on_from_take_to_take_and_from_worker_to_worker(server, queue, other):
    for tenant in "abc":
        push(server, tenant, 3)

    taken = named([*queue.take(1), *other.take(1), *queue.take(2), *other.take(1), *queue.take(9)])

    assert taken == [f"{tenant}-{number}" for number in range(3) for tenant in "abc"]


def test_ten_messages_dont_wait_for_those_of_a_tenant_with_very_many(server, queue):
    # given
    push_very_many(server, "large", MANY)
    finish(queue, queue.take(BATCH))
    push(server, "small", 10)
    # when
    between: list[str] = []
    while sum(name.startswith("small") for name in between) < 10:
        taken = queue.take(BATCH)
        between += named(taken)
        finish(queue, taken)
    # then
    last = between.index("small-9")
    assert sum(name.startswith("large") for name in between[:last]) <= 10
    left = MANY - BATCH - (len(between) - 10)
    assert waiting(server) == {"*": left, "large": left}


def test_messages_that_name_no_tenant_take_turns_as_one(server, queue):
    for number in range(3):
        arrive(server, None, number)
    push(server, "a", 3)

    taken = queue.take(100)

    assert named(taken) == ["a-0", "-0", "a-1", "-1", "a-2", "-2"]
    finish(queue, taken)
    assert server.keys() == [KEYS.leases.encode()]


def test_messages_of_any_producer_are_sorted_by_their_header(server, queue):
    # given what Celery pushes, which knows one list for all
    for number in range(100):
        arrive(server, "large", number)
    arrive(server, "small", 0)

    taken = named(queue.take(4))

    assert taken == ["large-0", "small-0", "large-1", "large-2"]
    assert waiting(server) == {"*": 97, "large": 97}


def test_a_take_sorts_no_more_than_its_bound(server, queue):
    for number in range(MOST_SORTED + 1):
        arrive(server, "large", number)
    arrive(server, "small", 0)

    first, second = named(queue.take(2)), named(queue.take(2))

    assert first == ["large-0", "large-1"]
    assert second == ["large-2", "small-0"]
    # nor more than so many bytes
    large = "x" * (MOST_BYTES // 2)
    for number in range(3):
        server.lpush("q", tenant_message("huge", number, large))
    queue.take(1)
    assert (server.llen("q"), server.llen(KEYS.tenant("huge"))) == (1, 2)


def test_the_most_urgent_message_of_a_tenant_is_its_first_but_no_other_tenant_waits(server, queue):
    push(server, "a", 2, step=9)
    push(server, "a", 2, step=0, first=2)
    push(server, "b", 2, step=9)

    assert named(queue.take(100)) == ["a-2", "b-0", "a-3", "b-1", "a-0", "a-1"]


def test_without_tenants_the_most_urgent_comes_first_as_before(server, queue):
    for number, name in enumerate(reversed(KEYS.lists)):
        server.lpush(name, tenant_message(None, number))

    assert named(queue.take(100)) == ["-3", "-2", "-1", "-0"]
    assert not server.exists(KEYS.tenants, KEYS.tenants_waiting)


def test_a_returning_tenant_takes_its_turn_after_those_that_wait(server, queue):
    # given one that has a message at a time, and again one as soon as that is taken
    push(server, "patient", 5)
    push(server, "eager", 1)
    taken = []
    # when
    for number in range(1, 5):
        taken += named(queue.take(1))
        if taken[-1].startswith("eager"):
            push(server, "eager", 1, first=number)
    # then
    assert [name.split("-")[0] for name in taken] == ["patient", "eager", "patient", "eager"]


@pytest.mark.parametrize("name", ["", "Müller", "a b", "x" * 65, 'a"b', "*", None, 7, ["a"]])
def test_what_is_no_tenant_is_taken_as_without_one(server, queue, name):
    arrive(server, name, 0)

    assert len(queue.take(1)) == 1
    assert not server.exists(KEYS.tenants, KEYS.tenants_waiting)


def test_a_header_in_a_text_names_no_tenant(server, queue):
    inner = json.dumps({"clip_tenant": "a"})
    text = json.dumps({"body": inner, "headers": {"id": "-0", "argsrepr": inner}})
    server.lpush("q", text)

    assert named(queue.take(1)) == ["-0"]
    assert not server.exists(KEYS.tenants)


def test_requeued_messages_are_their_tenants_next_ones(server, queue, other):
    push(server, "a", 3)
    push(server, "b", 1)
    taken = queue.take(100)
    assert not server.exists(KEYS.tenants)

    queue.requeue(queue.lease, [each.tag for each in reversed(taken)])

    assert waiting(server) == {"*": 4, "a": 3, "b": 1}
    assert sorted(named(other.take(2))) == ["a-0", "b-0"]
    assert named(other.take(2)) == ["a-1", "a-2"]


def test_messages_of_a_lost_worker_go_back_to_their_tenants(server, queue, other):
    push(server, "a", 2)
    arrive(server, None, 0)
    taken = queue.take(100)
    [suspect] = [each for each in taken if named([each]) == ["a-0"]]
    queue.start(queue.lease, [suspect.tag], Crash(1.0, 1, "w"))

    look = lapse(server, queue, other)

    assert (look.reclaimed, look.suspects, look.is_waiting) == (3, 1, True)
    assert waiting(server) == {"*": 2, "a": 1, "": 1}
    [again] = other.take(0, suspects=1)
    assert [crash.worker for crash in again.crashes] == ["w"]
    finish(other, [again, *other.take(100)])
    assert not server.exists(KEYS.tenants, KEYS.tenants_arrived, KEYS.tenants_waiting)


def test_parked_messages_come_back_to_their_tenant(server, queue):
    push(server, "a", 1)
    [taken] = queue.take(1)
    queue.reap(GAP_S)

    assert queue.park(taken, 60.0)

    parked = [name for name, _ in server.zscan_iter(KEYS.leases) if b"parked" in name]
    server.zadd(KEYS.leases, {parked[0]: 1})
    queue.reap(GAP_S)
    assert waiting(server) == {"*": 1, "a": 1}
    assert named(queue.take(1)) == ["a-0"]


def test_a_replayed_dead_letter_takes_its_tenants_turn(server, queue):
    text = tenant_message("a", 0)
    letter = DeadLetter(id="t", task="clip.classify", reason="It.", code="POISON", died_at=3.0,
                        history=(), message=text)  # fmt: skip
    push(server, "b", 1)
    queue.finish(queue.lease, [Ack(*queue.take(1))], letter)
    push(server, "b", 2)

    assert DeadLetters(server, "redis:", "q").replay(["t"]) == []

    assert named(queue.take(100)) == ["b-0", "a-0", "b-1"]


def test_an_idle_worker_wakes_for_a_tenant_and_wakes_the_next_one(server, queue, other):
    # given both wait
    for one in (queue, other):
        one.waits[-1].begin()
    # when
    push(server, "a", 3)
    queue.waits[-1].end()
    assert server.lrange(KEYS.tenants_arrived, 0, -1) == [b"a"]
    assert queue.reap(GAP_S).is_waiting
    taken = queue.take(2)
    # then the other one hears of what is left
    other.waits[-1].end()
    assert named([*taken, *other.take(2)]) == ["a-0", "a-1", "a-2"]
    queue.stop_waiting()
    other.stop_waiting()


def test_a_tenant_whose_lists_were_deleted_by_hand_is_forgotten(server, queue):
    push(server, "a", 3)
    push(server, "b", 1)
    server.delete(KEYS.tenant("a"))

    assert named(queue.take(2)) == ["b-0"]
    assert not server.exists(KEYS.tenants, KEYS.tenants_waiting)


def test_very_many_tenants_cost_a_take_no_more_than_few(server, queue):
    # given each has one message
    tenants = 20_000
    with server.pipeline(transaction=False) as pipe:
        for number in range(tenants):
            pipe.lpush(KEYS.tenant(f"t{number}"), tenant_message(f"t{number}", 0))
            pipe.lpush(KEYS.tenants, f"t{number}")
            pipe.zadd(KEYS.tenants_waiting, {f"t{number}": 1})
        pipe.zincrby(KEYS.tenants_waiting, tenants, "*")
        pipe.execute()
    queue.take(0)
    before = server.info("commandstats")
    # when
    taken = queue.take(10)
    # then
    calls = sum(each["calls"] for each in server.info("commandstats").values())
    calls -= sum(each["calls"] for each in before.values())
    assert len(taken) == 10
    assert calls < 20 * 10
