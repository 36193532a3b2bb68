"""The deliveries that this process holds, and how much work they are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.delivery.delivery import Delivery


class InFlight:
    """All deliveries of this process. Threads may share it.

    Attributes:
        busy: Units of work that take up room: all but of what waits for its ETA.
        suspects: Units of work of the messages whose workers crashed.
        size_bytes: Of all messages, as they were written.
    """

    def __init__(self) -> None:
        self.busy = 0
        self.suspects = 0
        self.size_bytes = 0
        self._all: dict[Delivery, None] = {}
        self._by_message: dict[bytes, Delivery] = {}
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, deliveries: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
        """Add deliveries.

        Returns:
            Those that are new, and those whose very same message is in flight already: a producer
            whose connection was lost has sent it twice.
        """
        new, copies = [], []
        with self._changed:
            for delivery in deliveries:
                known = self._by_message.get(delivery.message)
                if known and not known.ended and known.lease is delivery.lease:
                    copies.append(delivery)
                    continue
                self._by_message[delivery.message] = delivery
                self._all[delivery] = None
                self.size_bytes += len(delivery.message)
                self._count(delivery, delivery.size)
                new.append(delivery)
        return new, copies

    def claim(self, deliveries: Iterable[Delivery], *, waiting: bool = False) -> list[Delivery]:
        """Decide that deliveries end; those for which this is the first to decide it.

        Args:
            deliveries: In flight.
            waiting: Leave out what has begun.
        """
        with self._changed:
            first = [d for d in deliveries if not (d.ended or (waiting and d.begun))]
            for delivery in first:
                delivery.ended = True
        return first

    def begin(self, delivery: Delivery) -> bool:
        """Note that a delivery has begun; False if it must not, for its end is decided."""
        with self._changed:
            if delivery.ended:
                return False
            delivery.begun = True
            if delivery.waits_for_eta and delivery in self._all:
                delivery.waits_for_eta = False
                self.busy += delivery.size
            return True

    def remove(self, deliveries: Sequence[Delivery]) -> None:
        """Forget deliveries that have ended."""
        with self._changed:
            for delivery in deliveries:
                if delivery not in self._all:
                    continue
                del self._all[delivery]
                if self._by_message.get(delivery.message) is delivery:
                    del self._by_message[delivery.message]
                self.size_bytes -= len(delivery.message)
                self._count(delivery, -delivery.size)
                delivery.time_out = None  # it refers to the delivery in turn
            self._changed.notify_all()

    def shrink(self, delivery: Delivery) -> bool:
        """Note that one of several units of its work is done; False if it was the only one left."""
        with self._changed:
            if delivery.size == 1 or delivery not in self._all:
                return False
            delivery.size -= 1
            self._count(delivery, -1)
            self._changed.notify_all()
            return True

    def _count(self, delivery: Delivery, units: int) -> None:
        if not delivery.waits_for_eta:
            self.busy += units
        if delivery.crashes:
            self.suspects += units

    def get(self, tag: str) -> Delivery | None:
        """The delivery that has this tag, if it is in flight."""
        return next((delivery for delivery in self.all() if delivery.tag == tag), None)

    def all(self) -> list[Delivery]:
        """Those in flight now, in the order in which they came."""
        with self._changed:
            return list(self._all)

    def wait_for_change(self, timeout_s: float) -> bool:
        """Wait until something has ended, or for so long; whether something has."""
        with self._changed:
            return self._changed.wait(timeout_s)
