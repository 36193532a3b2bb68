"""A queue consumer with its Redis, its producer, its handler, and a stand-in for Celery's loop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import redis
from celery import Celery
from support.queue_state import started, unacked
from support.waiting import wait_until

from clip_worker.contract.keys import QueueKeys
from clip_worker.redis.url import connect
from worker.delivery.policy import DeliveryPolicy
from worker.delivery.prefetch import Prefetch
from worker.delivery.queue_consumer import QueueConsumer
from worker.delivery.redis_queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.delivery import Delivery

TASK = "clip.classify"
KEYS = QueueKeys("celery")
DEAD = "clip-worker:celery:dead"
NOTHING = (0, 0, 0, 0)


class Hub:
    """Celery's event loop and what it takes; `read` is a turn of the loop."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.read: Callable[[], None] = lambda: None

    def add_reader(self, _fd: int, callback: Callable[..., None], *args: Any) -> None:
        self.read = lambda: callback(*args)

    def remove_reader(self, _fd: int) -> None:
        self.read = lambda: None


class Handler:
    """Keeps what it is handed."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.abandoned = False
        self.full = False
        self.asked = 0  # whether it is full

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        self.got.extend(deliveries)

    def resting(self) -> int:
        return 0

    def is_full(self) -> bool:
        self.asked += 1
        return self.full

    def preparation_s(self) -> float:
        return 0.0

    def abandon(self) -> None:
        self.abandoned = True


class Stage:
    """A consumer with its Redis, its producer and its handler."""

    def __init__(self, url: str, *, floor: int = 4, **policy: Any) -> None:
        self.redis = redis.Redis.from_url(url)
        self.app = Celery(broker=url, set_as_current=False)
        self.handler = Handler()
        self.queue = RedisQueue(connect(url), KEYS, lease_s=2, result_ttl_s=60)
        usual = {"tasks": (TASK,), "max_deliveries": 2, "task_timeout_s": 60.0}
        self.consumer = QueueConsumer(
            queues=["celery"],
            open_queue=lambda _: self.queue,
            prefetch=Prefetch(floor=floor, ceiling=8, initial=8, batch=8),
            lease_s=2,
            worker="w",
            policy=DeliveryPolicy(**(usual | policy)),
        )
        self.acks = self.consumer.acks
        self.in_flight = self.consumer.in_flight

    def send(self, **options: Any) -> str:
        return str(self.app.send_task(TASK, kwargs={"k": 1}, **options).id)

    def start(self) -> None:
        self.consumer.start(self.handler)

    def wait_for(self, count: int) -> list[Delivery]:
        """What the handler has, once it is so many."""
        wait_until(lambda: len(self.handler.got) >= count)
        return self.handler.got

    def handle(self, count: int = 1) -> list[Delivery]:
        """Start, and send so many messages, which the handler gets."""
        for _ in range(count):
            self.send()
        self.start()
        return self.wait_for(count)

    def run_in_celery(self, **options: Any) -> tuple[str, Hub]:
        """Start, and send a message that Celery has to run."""
        hub = Hub()
        self.consumer.attach(hub, hub.messages.append)
        task_id = self.send(**(options or {"countdown": 60}))
        self.start()
        wait_until(lambda: len(self.in_flight) == 1)
        hub.read()
        return task_id, hub

    def result(self, task_id: str) -> dict[str, Any]:
        key = f"celery-task-meta-{task_id}"
        wait_until(lambda: self.redis.exists(key))
        return dict(json.loads(self.redis.get(key) or b""))

    def in_redis(self) -> tuple[int, ...]:
        r = self.redis
        waiting = r.llen("celery") + r.llen(KEYS.arrived[0])
        return waiting, r.llen(KEYS.suspects), unacked(r, KEYS), len(started(r, KEYS))

    def ends(self) -> None:
        """Wait until nothing is left in Redis but results."""
        wait_until(lambda: self.in_redis() == NOTHING)

    def close(self) -> None:
        if self.consumer.is_started:
            self.consumer.drain(0)
        self.consumer.celery.close()
        self.queue.close()
        self.app.close()
        self.redis.close()
