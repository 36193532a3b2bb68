"""Hands a message that asks for more than the handler does to Celery, to run as an ordinary task.

Callbacks, chains, chords, ETA, rate limits, other tasks of the same application: Celery takes the
message as if its transport had brought it. Only its acknowledgement comes back here.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from kombu.exceptions import OperationalError
from kombu.message import Message
from redis.exceptions import RedisError

from worker.contract.message_body import JSON
from worker.delivery.dead_lettering import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.delivery.in_flight import Delivery
    from worker.errors import ClipWorkerError

logger = logging.getLogger(__name__)

CONNECTION_FAULTS = (RedisError, OperationalError, OSError)


class Ends(Protocol):
    """How a delivery can end that Celery runs; `worker.delivery.acks.Acks`."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Celery has stored its result."""

    def give_back(self, delivery: Delivery) -> None:
        """Requeue it."""

    def reject(self, delivery: Delivery) -> None:
        """The task has rejected it."""

    def dead_letter(self, delivery: Delivery, reason: ClipWorkerError) -> None:
        """Celery can't run it."""

    def fail(self, delivery: Delivery, error: BaseException) -> None:
        """It has failed, and Celery has not stored that."""


class DeliveryChannel:
    """What kombu's `Message` needs of a channel, for one delivery. Threads may share it."""

    no_ack_consumers = None

    def __init__(self, delivery: Delivery, ends: Ends) -> None:
        self.delivery = delivery
        self._ends = ends

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # kombu's
        """End the delivery."""
        self._ends.acknowledge(self.delivery)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # kombu's
        """End the delivery as a dead letter, or requeue it."""
        (self._ends.give_back if requeue else self._ends.reject)(self.delivery)

    def fail(self, error: BaseException) -> None:
        """End the delivery, and store its failure, unless it has ended."""
        self._ends.fail(self.delivery, error)

    def refuse(self, reason: BaseException) -> None:
        """End the delivery: Celery can't run it."""
        self._ends.dead_letter(self.delivery, unreadable(reason))


class CeleryBridge:
    """Hands deliveries to Celery's event loop, which runs in the main thread.

    Args:
        ends: Where acknowledgements go.
        make_sure: Ends a delivery that is another worker's by now; a `RedisError` if Redis can't
            tell.
    """

    def __init__(self, ends: Ends, make_sure: Callable[[Delivery], None]) -> None:
        self._ends = ends
        self._make_sure = make_sure
        self._arrived: deque[Delivery] = deque()
        self._all: weakref.WeakSet[Delivery] = weakref.WeakSet()
        self._waiting: set[Delivery] = set()  # Celery has them, for an ETA or a rate limit
        self._lock = threading.Lock()
        self._hub: Any = None
        self._wake_end: socket.socket | None = None
        self._loop_end: socket.socket | None = None  # read by the loop, which a byte wakes

    def deliver(self, delivery: Delivery) -> None:
        """Hand a delivery to Celery; from any thread."""
        self._all.add(delivery)
        self._arrived.append(delivery)
        self._wake_loop()

    def has(self, delivery: Delivery) -> bool:
        """Whether a delivery was handed to Celery."""
        return delivery in self._all

    def wake(self) -> None:
        """Wake Celery's loop, which may have been told to stop; signal handlers may call it."""
        self._wake_loop()

    def attach(self, hub: Any, on_message: Callable[[Message], None]) -> None:
        """Let a (new) event loop take what arrives."""
        if self._loop_end is None:
            self._wake_end, self._loop_end = socket.socketpair()
            self._wake_end.setblocking(False)  # noqa: FBT003  # the socket's own signature
            self._loop_end.setblocking(False)  # noqa: FBT003  # likewise
        self._hub = hub
        hub.add_reader(self._loop_end.fileno(), self._hand_over, on_message)
        self._wake_loop()

    def close(self) -> None:
        """Hand over nothing more; on the loop's thread."""
        if self._wake_end is None or self._loop_end is None:
            return
        if self._loop_end.fileno() >= 0:
            self._hub.remove_reader(self._loop_end.fileno())
        self._wake_end.close()
        self._loop_end.close()

    def begun(self, delivery: Delivery) -> None:
        """Celery has given it to its pool."""
        with self._lock:
            self._waiting.discard(delivery)

    def forgotten(self) -> None:
        """Requeue what waited in Celery, which drops it on a reconnect."""
        with self._lock:
            dropped, self._waiting = self._waiting, set()
        for delivery in dropped:
            self._ends.give_back(delivery)

    def _wake_loop(self) -> None:
        if self._wake_end is not None:  # else `attach` does it
            with contextlib.suppress(OSError):  # full, so it wakes anyway; or closed
                self._wake_end.send(b"!")

    def _hand_over(self, on_message: Callable[[Message], None]) -> None:
        if self._loop_end is not None:
            with contextlib.suppress(BlockingIOError):
                self._loop_end.recv(4096)
        while self._arrived:
            delivery = self._arrived.popleft()
            with self._lock:
                self._waiting.add(delivery)
            try:
                self._make_sure(delivery)
                if delivery.ended:  # requeued by a stop, or another worker's by now
                    self.begun(delivery)
                    continue
                on_message(self._message(delivery))
            except CONNECTION_FAULTS:  # Celery connects anew; `forgotten` gives it back
                raise
            except Exception as error:
                # Whatever a producer wrote must cost its own task, and never Celery's consumer.
                logger.exception("Celery can't take task %s[%s]", *delivery.name)
                self.begun(delivery)
                self._ends.dead_letter(delivery, unreadable(error))

    def _message(self, delivery: Delivery) -> Message:
        envelope = delivery.envelope
        info = envelope.properties.get("delivery_info") or {}
        return Message(  # type: ignore[no-untyped-call]  # kombu's
            body=envelope.body,
            delivery_tag=delivery.tags[0],
            content_type=JSON,
            content_encoding="utf-8",
            delivery_info=info | {"redelivered": bool(delivery.crashes)},
            # A task finds its delivery by this; the producer's tag means nothing here.
            properties=envelope.properties | {"delivery_tag": delivery.tags[0]},
            headers=envelope.headers | {"compression": None},
            accept={JSON},
            channel=DeliveryChannel(delivery, self._ends),
        )
