"""The standard way: a message that asks for more than the batch path does runs as a Celery task.

Callbacks, chains, chords, ETA, rate limits, other tasks of the same application: Celery's own
machinery takes the message as if its transport had brought it. Only its acknowledgement comes back
here.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from kombu.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.delivery.held import Delivery


class Ends(Protocol):
    """What a message that Celery holds can come to."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Celery has stored its result."""

    def give_back(self, delivery: Delivery) -> None:
        """Somebody else shall have it."""

    def put_back_later(self, delivery: Delivery, seconds: float) -> None:
        """Somebody else shall have it, after a while."""


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
        """End the delivery, or give it back."""
        (self._ends.give_back if requeue else self._ends.acknowledge)(self.delivery)

    def put_back_later(self, seconds: float) -> None:
        """Give the delivery back after a while."""
        self._ends.put_back_later(self.delivery, seconds)


class StandardWay:
    """Hands deliveries to Celery's event loop, which runs in the main thread.

    Args:
        ends: Where acknowledgements go.
    """

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._arrived: deque[Delivery] = deque()
        self._all: weakref.WeakSet[Delivery] = weakref.WeakSet()
        self._waiting: set[Delivery] = set()  # Celery has them, for an ETA or a rate limit
        self._lock = threading.Lock()
        self._hub: Any = None
        self._bell: socket.socket | None = None  # wakes the loop that listens at the ear
        self._ear: socket.socket | None = None

    def deliver(self, delivery: Delivery) -> None:
        """Hand a delivery to Celery; from any thread."""
        self._all.add(delivery)
        self._arrived.append(delivery)
        self._ring()

    def has(self, delivery: Delivery) -> bool:
        """Whether a delivery went this way."""
        return delivery in self._all

    def wake(self) -> None:
        """Wake Celery's loop, which may have been told to stop; signal handlers may call it."""
        self._ring()

    def attach(self, hub: Any, on_message: Callable[[Message], None]) -> None:
        """Let a (new) event loop take what arrives."""
        if self._ear is None:
            self._bell, self._ear = socket.socketpair()
            self._bell.setblocking(False)  # noqa: FBT003  # the socket's own signature
            self._ear.setblocking(False)  # noqa: FBT003  # likewise
        self._hub = hub
        hub.add_reader(self._ear.fileno(), self._hand_over, on_message)
        self._ring()

    def close(self) -> None:
        """Hand over nothing more; on the loop's thread."""
        if self._bell is None or self._ear is None:
            return
        if self._ear.fileno() >= 0:
            self._hub.remove_reader(self._ear.fileno())
        self._bell.close()
        self._ear.close()

    def begun(self, delivery: Delivery) -> None:
        """Celery has given it to its pool."""
        with self._lock:
            self._waiting.discard(delivery)

    def forgotten(self) -> None:
        """Celery has dropped what waited in it, as it does on a reconnect: give that back."""
        with self._lock:
            dropped, self._waiting = self._waiting, set()
        for delivery in dropped:
            self._ends.give_back(delivery)

    def _ring(self) -> None:
        if self._bell is not None:  # else `attach` will ring
            with contextlib.suppress(OSError):  # it rings already, or nobody listens any more
                self._bell.send(b"!")

    def _hand_over(self, on_message: Callable[[Message], None]) -> None:
        if self._ear is not None:
            with contextlib.suppress(BlockingIOError):
                self._ear.recv(4096)
        while self._arrived:
            delivery = self._arrived.popleft()
            if delivery.ended:  # given back, for the worker stops
                continue
            with self._lock:
                self._waiting.add(delivery)
            on_message(self._message(delivery))

    def _message(self, delivery: Delivery) -> Message:
        fields = delivery.envelope.fields
        properties = fields["properties"]
        body = fields["body"]
        if properties.get("body_encoding") == "base64":
            body = base64.b64decode(body)
        return Message(  # type: ignore[no-untyped-call]  # kombu's
            body=body,
            delivery_tag=delivery.tags[0],
            content_type=fields.get("content-type"),
            content_encoding=fields.get("content-encoding"),
            delivery_info=dict(properties.get("delivery_info") or {})
            | {"redelivered": bool(delivery.crashes)},
            properties=properties,
            headers=delivery.envelope.headers,
            postencode="utf-8",
            accept={"application/json"},
            channel=DeliveryChannel(delivery, self._ends),
        )
