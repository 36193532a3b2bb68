"""How tasks end is counted, once each, under labels that no producer can make up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.messages import message

from clip_worker.contract.message_reader import Envelope
from clip_worker.errors import ImageUnavailableError, ServiceError
from worker.delivery.acks import Acks
from worker.delivery.delivery import Delivery, Lease
from worker.delivery.in_flight import InFlight
from worker.delivery.policy import DeliveryPolicy
from worker.metrics.codes import OTHER
from worker.metrics.instruments import Instruments

TASK = "clip.classify"
PAST = "2020-01-01T00:00:00+00:00"
NOT_FOUND = ImageUnavailableError("It is not there.", "FETCH_404")


class Queue:
    """A queue that takes whatever is done with it."""

    name = "clip"

    def requeue(self, *_: object) -> None: ...

    def finish(self, *_: object) -> None: ...


class Bench:
    """Acks whose writer was not started, and what they count."""

    def __init__(self) -> None:
        self.instruments = Instruments()
        self.in_flight = InFlight()
        policy = DeliveryPolicy(
            tasks=(TASK,),
            max_deliveries=2,
            task_timeout_s=60,
            revoked={"revoked"},
            is_registered=lambda name: name == TASK,
        )
        self.acks = Acks(policy, self.in_flight, lambda _ended: None, self.instruments)
        queue: Any = Queue()
        self.lease = Lease(queue, 0.0)

    def taken(self, task_id: str = "t", task: str = TASK, **headers: Any) -> Delivery:
        sent = json.dumps(message(task_id, kwargs={}, headers={"task": task, **headers})).encode()
        delivery = Delivery(self.lease, task_id, (), sent, Envelope.decode(sent))
        self.in_flight.add([delivery])
        return delivery

    def counted(self) -> dict[tuple[str, ...], float]:
        """By task, outcome and code."""
        return {
            (labels["task"], labels["outcome"], labels["code"]): value
            for family in self.instruments.registry.collect()
            if family.name == "clip_worker_tasks"
            for _, labels, value, *_ in family.samples
        }


ENDS: dict[str, tuple[Callable[[Acks, Delivery], object], tuple[str, str]]] = {
    "success": (lambda acks, each: acks.succeed(each, "{}"), ("succeeded", "")),
    "failure": (lambda acks, each: acks.fail(each, NOT_FOUND), ("failed", "FETCH_404")),
    "another exception": (lambda acks, each: acks.fail(each, KeyError("x")), ("failed", OTHER)),
    "requeued": (lambda acks, each: acks.give_back(each), ("requeued", "")),
    "lost": (lambda acks, each: acks.drop(each), ("requeued", "")),
    "not run by Celery": (lambda acks, each: acks.acknowledge(each), ("revoked", "REVOKED")),
    "refused": (
        lambda acks, each: acks.refuse(each, ValueError("no ETA")),
        ("dead_letter", "UNREADABLE"),
    ),
    "rejected": (lambda acks, each: acks.reject(each), ("dead_letter", "REJECTED")),
    "poison": (
        lambda acks, each: acks.dead_letter(each, ServiceError("It kills.", "POISON")),
        ("dead_letter", "POISON"),
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_each_end_is_counted_once(end: str) -> None:
    bench, (act, (outcome, code)) = Bench(), ENDS[end]
    delivery = bench.taken()
    act(bench.acks, delivery)
    act(bench.acks, delivery)  # again is none
    assert bench.counted() == {(TASK, outcome, code): 1}


def test_a_task_that_must_not_run_is_counted_as_revoked() -> None:
    bench = Bench()
    assert not bench.acks.is_wanted(bench.taken("revoked"))
    assert not bench.acks.is_wanted(bench.taken("late", expires=PAST))
    assert bench.counted() == {(TASK, "revoked", "REVOKED"): 1, (TASK, "revoked", "EXPIRED"): 1}


def test_what_celery_has_run_is_left_to_the_task() -> None:
    bench = Bench()
    delivery = bench.taken()
    bench.in_flight.begin(delivery)
    bench.acks.acknowledge(delivery)
    assert bench.counted() == {}


def test_names_that_a_producer_makes_up_share_a_label() -> None:
    bench = Bench()
    for number in range(3):
        bench.acks.give_back(bench.taken(f"t{number}", task=f"made.up.{number}"))
    assert bench.counted() == {(OTHER, "requeued", ""): 3}
