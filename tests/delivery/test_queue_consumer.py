"""The queue consumer's threads together, on a real Redis: what is taken, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from support.consumer_stage import KEYS, TASK
from support.queue_state import started
from support.waiting import wait_until

from clip_worker.errors import ImageInvalidError
from worker.delivery import queue_consumer

pytestmark = pytest.mark.integration

BROKEN = ImageInvalidError("It is broken.", "DECODE_BROKEN")


def test_a_message_goes_to_the_handler_and_its_first_end_to_redis(stage):
    succeeds, fails = stage.handle(2)
    assert succeeds.arguments.kwargs == {"k": 1}
    assert stage.in_redis() == (0, 0, 2, 0)

    stage.acks.succeed(succeeds, '{"answer": 7}')
    stage.acks.fail(fails, BROKEN)
    for delivery in (succeeds, fails):  # each has ended
        stage.acks.succeed(delivery, '"late"')
        stage.acks.give_back(delivery)

    assert stage.result(succeeds.id)["result"] == {"answer": 7}
    assert stage.result(fails.id)["result"]["exc_message"] == ["It is broken. [DECODE_BROKEN]"]
    stage.ends()
    wait_until(lambda: len(stage.in_flight) == 0)  # Redis has their ends a moment before


def test_no_more_is_taken_than_there_is_room_for(stage):
    for _ in range(30):
        stage.send()

    stage.start()

    taken = stage.wait_for(8)[:8]
    assert stage.redis.llen("celery") == 22
    for delivery in taken:
        stage.acks.succeed(delivery, "1")
    stage.wait_for(12)


def test_nothing_is_taken_while_the_handler_is_full(stage):
    # given a consumer with room, whose handler has no memory for more
    stage.handler.full = True  # before it starts: a look that has begun would still take some
    stage.consumer.start(stage.handler)
    sent = [stage.send() for _ in range(3)]
    # when it has asked, and asked again after that
    asked = stage.handler.asked
    wait_until(lambda: stage.handler.asked >= asked + 3)
    # then it has left all of them, until there is memory again
    assert not stage.handler.got
    stage.handler.full = False
    wait_until(lambda: [each.id for each in stage.handler.got] == sent)


def test_a_message_takes_the_room_of_its_size_until_its_parts_are_done(open_stage, monkeypatch):
    # given: messages of 6 units each, and room for 8
    stage = open_stage(floor=8, size_of=lambda _: 6)
    requeue = stage.queue.requeue
    gone_back: list[str] = []
    monkeypatch.setattr(
        stage.queue, "requeue", lambda lease, t: gone_back.extend(t) or requeue(lease, t)
    )
    sent = [stage.send() for _ in range(6)]
    stage.start()
    wait_until(lambda: len(stage.handler.got) == 2 and stage.redis.llen("celery") == 4)
    first, second = stage.handler.got
    assert [first.id, second.id] == sent[:2]
    assert stage.in_flight.busy == 12

    # when the first is nearly done, then the next is taken, and only once
    for _ in range(5):
        stage.consumer.advance(first)
    assert stage.in_flight.busy == 7
    stage.consumer.advance(second)
    stage.acks.succeed(first, "1")
    assert stage.wait_for(3)[2].id == sent[2]
    wait_until(lambda: stage.redis.llen("celery") == 3)
    assert len(gone_back) == 4

    stage.consumer.drain(0)
    assert stage.in_flight.busy == 0


def test_a_copy_of_what_is_in_flight_is_not_begun_and_leaves_nothing(stage):
    # given: the same message comes again, as from a producer whose connection was lost
    stage.send()
    [message] = stage.redis.lrange("celery", 0, -1)
    stage.start()
    [delivery] = stage.wait_for(1)
    stage.redis.lpush("celery", message)
    wait_until(lambda: stage.in_redis() == (0, 0, 1, 0))

    stage.acks.succeed(delivery, "1")

    assert stage.result(delivery.id)["result"] == 1
    stage.ends()
    assert stage.handler.got == [delivery]


def test_two_messages_of_one_id_are_both_handled_as_after_a_retry(stage):
    stage.start()
    for count in (1, 2):
        stage.send(task_id="same")
        stage.wait_for(count)
    for delivery in stage.handler.got:
        stage.acks.succeed(delivery, "1")
    stage.ends()


def test_no_more_is_taken_while_the_messages_in_flight_are_too_large_together(stage, monkeypatch):
    monkeypatch.setattr(queue_consumer, "MOST_BYTES", 1)  # so that one is enough
    [first] = stage.handle()
    second = stage.send()
    wait_until(lambda: stage.in_redis() == (1, 0, 1, 0))

    stage.acks.succeed(first, "1")

    assert stage.wait_for(2)[1].id == second


def test_what_is_begun_is_noted_and_what_is_no_longer_ours_or_unwanted_is_not(
    open_stage, monkeypatch
):
    # given four deliveries: one is revoked by now, one is nobody knows where
    revoked: set[str] = set()
    stage = open_stage(revoked=revoked)
    first, second, unwanted, lost = stage.handle(4)
    revoked.add(unwanted.id)
    stage.redis.hdel(KEYS.unacked(lost.lease.name), lost.tag)
    start, failures = stage.queue.start, [RedisConnectionError("away")] * 2

    def start_or_fail(*args: Any) -> list[bool]:
        if failures:
            raise failures.pop()
        return start(*args)

    monkeypatch.setattr(stage.queue, "start", start_or_fail)

    begun = stage.consumer.begin_all([first, second, unwanted, lost], together=2)

    assert begun == [first, second]
    assert [delivery.begun for delivery in begun] == [True, True]
    assert lost.ended
    assert stage.result(unwanted.id)["status"] == "REVOKED"
    lines = started(stage.redis, KEYS)
    assert set(lines) == {first.tag.encode(), second.tag.encode()}
    assert {line.split(b" ", 1)[1] for line in lines.values()} == {b"2 w"}

    # when all end together, the first has ended before
    stage.acks.fail(first, BROKEN)
    stage.acks.succeed_all([(first, "1"), (second, "2")])
    assert stage.result(first.id)["status"] == "FAILURE"
    assert stage.result(second.id)["result"] == 2
    stage.ends()
    assert stage.acks.totals() == {TASK: 2}
