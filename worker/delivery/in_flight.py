"""The messages that this process holds, each as a delivery."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.quoting import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.contract.message_body import Arguments
    from worker.contract.message_reader import Envelope
    from worker.delivery.lease import Lease
    from worker.delivery.redis_queue import RedisQueue
    from worker.delivery.unacked_entry import Crash
    from worker.errors import ClipWorkerError


@dataclass(slots=True, eq=False, weakref_slot=True)
class Delivery:
    """A message in flight, from its taking to its end.

    Attributes:
        lease: What it was taken under.
        envelope: The message, read.
        message: The message as it was written.
        crashes: What it has been through, newest first.
        tags: Of this delivery, and of further ones of the same message that came meanwhile.
        taken_at: `time.monotonic()`.
        size: Units of work that are left in it; each takes up room.
        waits_for_eta: Whether it rests until a time of its own; then it takes no room.
        begun: Whether this worker works on it.
        ended: Whether its end has been decided; only the first end counts.
        progressed_at: `time.monotonic()` when something of it was done last, or when it was taken.
        time_out: Ends it when nothing of it has been done for too long; None to let it fail.
    """

    lease: Lease
    envelope: Envelope
    message: bytes
    crashes: tuple[Crash, ...]
    tags: list[str]
    taken_at: float = field(default_factory=time.monotonic)
    size: int = 1
    waits_for_eta: bool = False
    begun: bool = False
    ended: bool = False
    progressed_at: float = field(default_factory=time.monotonic)
    time_out: Callable[[ClipWorkerError], None] | None = None

    @property
    def queue(self) -> RedisQueue:
        """That it came from."""
        return self.lease.queue

    @property
    def arguments(self) -> Arguments:
        """Of the task."""
        return self.envelope.arguments

    def progress(self) -> None:
        """Note that something of it was done just now."""
        self.progressed_at = time.monotonic()

    @property
    def id(self) -> str:
        """Celery's task id, or the tag of a message that has none."""
        return self.envelope.id or self.tags[0]

    @property
    def name(self) -> tuple[str, str]:
        """The task's name and its id, for the log: one line, whatever a producer made of them."""
        return _shown(self.envelope.task or "without a name"), _shown(self.id)


class InFlight:
    """All deliveries of this process. Threads may share it.

    A delivery is itself and not its task's id: `Task.retry` and `Task.replace` publish the next
    message of an id before the last one is acknowledged, so two of them may be in flight.
    """

    def __init__(self) -> None:
        self._all: dict[Delivery, None] = {}
        self._by_message: dict[bytes, Delivery] = {}
        self._busy = 0
        self._bytes = 0
        self._suspects = 0
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def busy(self) -> int:
        """Units of work that take up room: all but of what waits for a time of its own."""
        return self._busy

    @property
    def size_bytes(self) -> int:
        """Bytes of all messages, as they were written."""
        return self._bytes

    @property
    def suspects(self) -> int:
        """Units of work of those that have been through a crash."""
        return self._suspects

    def add(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Add deliveries; those that are new, for the others are in flight already.

        The very same message may stand in the queue twice. One whose end has been decided takes no
        further tag: nobody would end that.
        """
        new = []
        with self._changed:
            for delivery in deliveries:
                known = self._by_message.get(delivery.message)
                if known and not known.ended and known.lease is delivery.lease:
                    known.tags.extend(delivery.tags)
                    continue
                self._by_message[delivery.message] = delivery
                self._all[delivery] = None
                self._bytes += len(delivery.message)
                new.append(delivery)
                self._count(delivery, delivery.size)
        return new

    def claim(self, delivery: Delivery) -> bool:
        """Decide that a delivery ends; whether this is the first to decide it."""
        return bool(self.claim_all([delivery]))

    def claim_all(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """The same of several; those for which it is the first."""
        with self._changed:
            first = [delivery for delivery in deliveries if not delivery.ended]
            for delivery in first:
                delivery.ended = True
        return first

    def claim_waiting(self, delivery: Delivery) -> bool:
        """The same, but no for what has begun: that goes on."""
        with self._changed:
            first = not (delivery.begun or delivery.ended)
            delivery.ended |= first
            return first

    def begin(self, delivery: Delivery) -> bool:
        """Note that a delivery has begun; False if it must not, for its end is decided."""
        with self._changed:
            delivery.begun = delivery.begun or not delivery.ended
            if delivery.waits_for_eta and delivery in self._all:  # its time has come
                delivery.waits_for_eta = False
                self._busy += delivery.size
            return not delivery.ended

    def remove(self, deliveries: Sequence[Delivery]) -> None:
        """Forget deliveries that have ended."""
        with self._changed:
            for delivery in deliveries:
                if delivery not in self._all:
                    continue
                del self._all[delivery]
                self._bytes -= len(delivery.message)
                if self._by_message.get(delivery.message) is delivery:
                    del self._by_message[delivery.message]
                self._count(delivery, -delivery.size)
                delivery.time_out = None  # it knows the delivery in turn
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
            self._busy += units
        if delivery.crashes:
            self._suspects += units

    def get(self, tag: str) -> Delivery | None:
        """The delivery that has this tag, if it is in flight."""
        return next((delivery for delivery in self.all() if tag in delivery.tags), None)

    def all(self) -> list[Delivery]:
        """Those in flight now, in the order in which they came."""
        with self._changed:
            return list(self._all)

    def wait_for_change(self, timeout_s: float) -> bool:
        """Wait until something has ended, or for so long; whether something has."""
        with self._changed:
            return self._changed.wait(timeout_s)


def _shown(text: str) -> str:
    return text if text.isprintable() else quote(text)
