"""Which deliveries a process holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from worker.delivery.delivery import Delivery, Lease
from worker.delivery.in_flight import InFlight

QUEUE: Any = SimpleNamespace(name="q")


def test_what_comes_again_is_a_copy_until_the_end_of_the_first_is_decided() -> None:
    lease, in_flight = Lease(QUEUE, 0.0), InFlight()
    first, copy, again = (Delivery(lease, tag, (), b"m") for tag in "abc")
    assert in_flight.add([first, copy]) == ([first], [copy])

    # when it has been given back, but is still held, as while Redis answers
    assert in_flight.claim([first]) == [first]
    assert in_flight.claim([first]) == []

    # then it is a delivery of its own, which the end of the first one leaves in flight
    assert in_flight.add([again]) == ([again], [])
    in_flight.remove([first])
    assert in_flight.all() == [again]
    assert in_flight.add([Delivery(lease, "d", (), b"m")])[0] == []


def test_what_was_taken_under_another_lease_is_no_copy() -> None:
    in_flight = InFlight()
    deliveries = [Delivery(Lease(QUEUE, 0.0), tag, (), b"m") for tag in "ab"]

    assert in_flight.add(deliveries) == (deliveries, [])
