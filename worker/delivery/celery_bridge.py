"""Hands a message that asks for more than the handler does to Celery, to run as an ordinary task.

Callbacks, chains, chords, ETA, rate limits, other tasks of the same application: Celery takes the
message as if its transport had brought it. Only its acknowledgement comes back here.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from kombu.message import Message
from redis.exceptions import RedisError

from clip_worker.contract.message_body import JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.delivery.acks import Acks
    from worker.delivery.delivery import Delivery

logger = logging.getLogger(__name__)

CONNECTION_FAULTS = (RedisError, OperationalError, OSError)


class DeliveryChannel:
    """What kombu's `Message` needs of a channel, for one delivery. Threads may share it."""

    no_ack_consumers = None

    def __init__(self, delivery: Delivery, acks: Acks) -> None:
        self.delivery = delivery
        self._acks = acks

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # kombu's
        """End the delivery."""
        self._acks.acknowledge(self.delivery)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # kombu's
        """End the delivery as a dead letter, or requeue it."""
        (self._acks.give_back if requeue else self._acks.reject)(self.delivery)

    def fail(self, error: BaseException) -> None:
        """End the delivery, and store its failure, unless it has ended."""
        self._acks.fail(self.delivery, error)

    def refuse(self, reason: BaseException) -> None:
        """End the delivery: Celery can't run it."""
        self._acks.refuse(self.delivery, reason)


class CeleryBridge:
    """Hands deliveries to Celery's event loop, which runs in the main thread.

    Args:
        acks: Where acknowledgements go.
    """

    def __init__(self, acks: Acks) -> None:
        self._acks = acks
        self._arrived: deque[Delivery] = deque()
        self._hub: Any = None
        self._wake_end: socket.socket | None = None
        self._loop_end: socket.socket | None = None  # read by the loop, which a byte wakes

    def deliver(self, delivery: Delivery) -> None:
        """Hand a delivery to Celery; from any thread."""
        delivery.in_celery = True
        self._arrived.append(delivery)
        self.wake()

    def wake(self) -> None:
        """Wake Celery's loop, which may be about to stop; signal handlers may call it."""
        if self._wake_end is not None:  # else `attach` does it
            with contextlib.suppress(OSError):  # full, so it wakes anyway; or closed
                self._wake_end.send(b"!")

    def attach(
        self, hub: Any, on_message: Callable[[Message], None], in_flight: Iterable[Delivery]
    ) -> None:
        """Let a (new) event loop take what arrives; on the loop's thread.

        What waited in Celery for an ETA or a rate limit goes back: Celery drops it on a reconnect.

        Args:
            hub: kombu's event loop.
            on_message: Takes a message, on the loop's thread.
            in_flight: All deliveries of this process.
        """
        for delivery in in_flight:
            if delivery.waits_in_celery:
                self._acks.give_back(delivery)
        if self._loop_end is None:
            self._wake_end, self._loop_end = socket.socketpair()
            self._wake_end.setblocking(False)  # noqa: FBT003  # the socket's own signature
            self._loop_end.setblocking(False)  # noqa: FBT003  # likewise
        self._hub = hub
        hub.add_reader(self._loop_end.fileno(), self._hand_over, on_message)
        self.wake()

    def close(self) -> None:
        """Hand over nothing more; on the loop's thread."""
        if self._wake_end is None or self._loop_end is None:
            return
        if self._loop_end.fileno() >= 0:
            self._hub.remove_reader(self._loop_end.fileno())
        self._wake_end.close()
        self._loop_end.close()

    def _hand_over(self, on_message: Callable[[Message], None]) -> None:
        if self._loop_end is not None:
            with contextlib.suppress(BlockingIOError):
                self._loop_end.recv(4096)
        while self._arrived:
            delivery = self._arrived.popleft()
            if delivery.ended:  # requeued by a stop, or another worker's by now
                continue
            delivery.waits_in_celery = True
            try:
                on_message(message_of(delivery, self._acks))
            except CONNECTION_FAULTS:  # Celery connects anew; `attach` gives it back
                raise
            except Exception as error:
                # Whatever a producer wrote must cost its own task, and never Celery's consumer.
                fields = delivery.log_fields()
                logger.exception("Celery can't take task %s[%s]", *delivery.name, extra=fields)
                self._acks.refuse(delivery, error)


def message_of(delivery: Delivery, acks: Acks) -> Message:
    """A delivery as kombu's transport would have brought it."""
    envelope = delivery.envelope
    info = envelope.properties.get("delivery_info") or {}
    return Message(  # type: ignore[no-untyped-call]  # kombu's
        body=envelope.body or delivery.message,  # the latter if it could not be read
        delivery_tag=delivery.tag,
        content_type=JSON,
        content_encoding="utf-8",
        delivery_info=info | {"redelivered": bool(delivery.crashes)},
        # A task finds its delivery by this; the producer's tag means nothing here.
        properties=envelope.properties | {"delivery_tag": delivery.tag},
        headers=envelope.headers | {"compression": None},
        accept={JSON},
        channel=DeliveryChannel(delivery, acks),
    )
