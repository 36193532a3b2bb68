"""The parts of a queue consumer that end deliveries, and receivers of Celery's signals."""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery, signals
from celery._state import get_current_task

from clip_worker.errors import ImageInvalidError
from worker.delivery.acks import Acks
from worker.delivery.delivery import Crash, Delivery, Lease
from worker.delivery.in_flight import InFlight
from worker.delivery.policy import DeliveryPolicy
from worker.delivery.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable

TASK = "clip.classify"
RESULT = {"predictions": [{"label": "Ä", "probability": 0.25, "index": 0}]}
HOST = "clip@host"
HEADERS = {
    "id": "an-id",
    "task": TASK,
    "root_id": "a-root",
    "parent_id": "a-parent",
    "retries": 1,
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "argsrepr": "('data:,',)",
}
# As protocol 2 asks: arguments, keyword arguments, and what else is to be done.
BODY = [["data:,"], {"labels": ["a", "b"]}, {"callbacks": None, "errbacks": None, "chain": None}]
MESSAGE = {
    "body": json.dumps(BODY),
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": HEADERS,
    "properties": {
        "correlation_id": "an-id",
        "reply_to": "somebody",
        "priority": 3,
        "delivery_tag": "a-tag",
        "delivery_info": {"exchange": "", "routing_key": "clip"},
    },
}
RUNS = ("prerun", "success", "failure", "retry", "revoked", "postrun")


def broken() -> ImageInvalidError:
    return ImageInvalidError("It is broken.", "DECODE_BROKEN")


class Consumer:
    """Celery's."""

    hostname = HOST


class Redis:
    """A queue that does what it is told."""

    name = "clip"

    def __init__(self) -> None:
        self.ended = threading.Semaphore(0)

    def finish(self, _lease: Lease, acks: Any, _letter: Any = None) -> list[bool]:
        self.ended.release(len(acks))
        return [True] * len(acks)

    def requeue(self, _lease: Lease, _tags: Any) -> None:
        pass


class Worker:
    """The parts of a queue consumer that end deliveries, and one delivery."""

    def __init__(self, app: Celery, **policy: Any) -> None:
        self.app = app
        self.told = threading.Semaphore(0)  # once for each delivery that Redis knows the end of
        self.redis: Any = Redis()
        self.policy = DeliveryPolicy(
            tasks=(TASK,),
            max_deliveries=2,
            task_timeout_s=60.0,
            is_registered=app.tasks.__contains__,
            task_of=app.tasks.get,
            **policy,
        )
        self.in_flight = InFlight()
        self.acks = Acks(self.policy, self.in_flight, self._ended, now=lambda: 1e9)
        self.acks.signals.listen(Consumer())
        self.acks.writer.start()
        self.router = Router(self.policy, self.acks, celery=None, give_way=lambda _: None)  # type: ignore[arg-type]  # none is needed

    def _ended(self, deliveries: Any) -> None:
        self.acks.signals.ended(deliveries)
        self.in_flight.remove(deliveries)
        self.told.release(len(deliveries))

    def delivery(self, message: Any, crashes: tuple[Crash, ...] = ()) -> Delivery:
        return Delivery(Lease(self.redis, 0.0), "a-tag", crashes, json.dumps(message).encode())

    def take(self, message: Any = MESSAGE, crashes: tuple[Crash, ...] = ()) -> Delivery:
        """A delivery that has gone as far as the handler, unless it ends before."""
        delivery = self.delivery(message, crashes)
        self.in_flight.add([delivery])
        if self.router.read(delivery) and self.router.is_for_handler(delivery):
            self.acks.signals.started([delivery])
        return delivery

    def wait_for_end(self) -> None:
        assert self.told.acquire(timeout=60)


class Receivers:
    """Writes down what is sent."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.senders: list[Any] = []
        self._connected: list[tuple[Any, Any]] = []

    def listen(self, *names: str) -> None:
        for name in names:
            self.connect(name, partial(self._hear, name))

    def connect(self, name: str, receiver: Callable[..., None]) -> None:
        signal = getattr(signals, f"task_{name}")
        signal.connect(receiver, weak=False)
        self._connected.append((signal, receiver))

    def close(self) -> None:
        for signal, receiver in self._connected:
            signal.disconnect(receiver)

    def _hear(self, name: str, /, *, sender: Any, signal: Any, **fields: Any) -> None:
        self.heard.append(f"{name} {fields['state']}" if "state" in fields else name)
        self.senders.append(sender)
        if einfo := fields.get("einfo"):  # Celery changes it later
            fields["einfo"] = (
                einfo.type,
                repr(einfo.exception.exc),
                einfo.traceback.splitlines()[-1],
            )
            fields["traceback"] = fields.get("traceback") is not None
        for field, value in fields.items():
            if isinstance(value, Exception):  # no two of them are equal
                fields[field] = f"{type(value).__name__}: {value}"
        self.calls.append(fields | {"signal": name, "current": get_current_task()})
        if name in RUNS:
            self.calls[-1]["task.request"] = vars(sender.request) | {
                "_children": None
            }  # it makes a list
