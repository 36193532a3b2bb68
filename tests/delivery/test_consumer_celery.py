"""What the queue consumer hands to Celery's event loop, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from support.consumer_stage import DEAD, TASK, Hub
from support.waiting import wait_until

pytestmark = pytest.mark.integration


def test_a_task_that_is_not_registered_becomes_a_dead_letter_once_nobody_took_it(
    open_stage, caplog
):
    stage = open_stage(is_registered=lambda name: name == TASK)
    theirs = [str(stage.app.send_task("users.own" + "x" * 200).id) for _ in range(2)]
    ours = str(stage.app.send_task("clip.unheard_of").id)

    stage.start()

    for task_id in (*theirs, ours):
        assert stage.result(task_id)["result"]["exc_type"] == "NotRegistered"
    stage.ends()
    assert stage.redis.hlen(DEAD) == 3
    reported = [record.getMessage() for record in caplog.records]
    assert sum("Put back the task 'users.own" in line for line in reported) == 1
    assert all(len(line) < 700 for line in reported)


def test_what_asks_for_more_goes_through_celerys_loop_and_is_acknowledged_here(stage):
    _, hub = stage.run_in_celery()

    [message] = hub.messages
    assert message.headers["eta"]
    assert message.decode()[1] == {"k": 1}
    message.ack()
    stage.ends()
    assert stage.handler.got == []


def test_what_celery_rejects_is_a_dead_letter_that_leaves_the_tasks_result_alone(stage):
    task_id, hub = stage.run_in_celery()

    hub.messages[0].reject(requeue=False)

    stage.ends()
    assert b"REJECTED" in stage.redis.hget(DEAD, task_id)
    assert stage.redis.get(f"celery-task-meta-{task_id}") is None


def test_what_celery_cant_take_costs_its_own_task_and_not_celerys_loop(stage):
    # given: two messages, of which Celery stumbles over the first
    taken: list[Any] = []

    def stumble_once(message: Any) -> None:
        taken.append(message)
        if len(taken) == 1:
            raise TypeError("argument of type 'int' is not iterable")

    hub = Hub()
    stage.consumer.attach(hub, stumble_once)
    bad = stage.send(countdown=60)
    stage.start()
    wait_until(lambda: len(stage.in_flight) == 1)

    hub.read()
    stage.send(countdown=60)
    wait_until(lambda: len(stage.in_flight) == 1)
    hub.read()

    assert stage.result(bad)["result"]["exc_message"][0].endswith("[UNREADABLE]")
    assert len(taken) == 2
    taken[1].ack()
    stage.ends()


def test_what_celery_forgets_on_a_reconnect_goes_back(stage):
    _, first = stage.run_in_celery()
    assert len(first.messages) == 1

    again = Hub()
    stage.consumer.attach(again, again.messages.append)

    def it_has_come_again() -> bool:
        again.read()
        return bool(again.messages)

    wait_until(it_has_come_again)
    assert again.messages[0].channel.delivery is not first.messages[0].channel.delivery


def test_what_waits_for_its_time_takes_no_room_before(stage):
    stage.run_in_celery()
    [delivery] = stage.in_flight.all()
    assert stage.in_flight.busy == 0

    assert stage.consumer.begin(delivery)
    assert stage.consumer.begin(delivery)
    assert stage.in_flight.busy == 1

    stage.acks.acknowledge(delivery)
    stage.ends()
    assert not stage.consumer.begin(delivery)
    wait_until(lambda: stage.in_flight.busy == 0)  # Redis has its end a moment before


def test_what_takes_too_long_fails_unless_celery_holds_it_and_its_late_answer_is_dropped(
    open_stage,
):
    # given: a task that Celery has to run, and one of ours, in flight for longer than ours may take
    stage = open_stage(task_timeout_s=0.2)
    celerys = str(stage.app.send_task("users.own").id)
    ours = stage.send()

    stage.start()

    assert stage.result(ours)["result"]["exc_message"][0].endswith("[TASK_TIMEOUT]")
    stage.acks.succeed(stage.handler.got[0], "1")
    wait_until(lambda: [delivery.id for delivery in stage.in_flight.all()] == [celerys])
    assert stage.result(ours)["status"] == "FAILURE"
    assert stage.redis.get(f"celery-task-meta-{celerys}") is None
