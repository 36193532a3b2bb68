"""clip-worker's queue consumer around a model that does nothing, in a process of its own.

    python -m benchmarks.bench.contenders.no_op_worker handler|pipeline

`handler` puts the no-op in the place of the worker's batch handler: what is left is the queue
consumer. `pipeline` keeps the batch handler, which validates each request and encodes each result,
and puts the no-op in the place of the pipeline of images. Either way each delivery is noted in
Redis before it is begun, as the guarantees want it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, cast

from benchmarks.bench.contenders.no_op import answer
from clip_worker.contract import CLASSIFY
from worker.celery import app
from worker.delivery.delivery import Delivery
from worker.delivery.queue_consumer import QueueConsumer
from worker.pipeline.image_task import ImageTask
from worker.runtime import gc_tuning as garbage
from worker.runtime.batch_handler import BatchHandler
from worker.runtime.queue_assembly import build_queue_consumer
from worker.settings import Settings

DIGEST = "0" * 64


@app.task(name=CLASSIFY)
def classify(**_: object) -> None:
    """Never called: the queue path refuses a task that is not registered."""


class NoOpHandler:
    """Answers without looking."""

    def __init__(self, consumer: QueueConsumer) -> None:
        self._consumer = consumer

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Begin with all, which writes their start into Redis first."""
        begun = self._consumer.begin_all(deliveries) if deliveries else []
        self._consumer.acks.succeed_all([(delivery, _result(delivery)) for delivery in begun])

    def resting(self) -> int:
        """None."""
        return 0

    def is_full(self) -> bool:
        """Never."""
        return False

    def preparation_s(self) -> float:
        """None."""
        return 0.0

    def abandon(self) -> None:
        """Nothing is unfinished."""


class NoOpPipeline:
    """A pipeline of images without images, and its pool."""

    resting = 0
    is_full = False
    preparation_s = 0.0

    def __init__(self, consumer: QueueConsumer) -> None:
        self._consumer = consumer

    def submit(self, tasks: Sequence[ImageTask]) -> None:
        """End tasks as soon as their start is written into Redis."""
        begun = set(self._consumer.begin_all([cast("Delivery", task.message) for task in tasks]))
        done = [task for task in tasks if task.message in begun]
        for task in done:
            task.result = _fields(task)
        if done:
            done[0].owner.finished(done)

    def abandon(self) -> None:
        """Nothing is unfinished."""


def _result(delivery: Delivery) -> str:
    return json.dumps(answer(delivery.arguments.kwargs["labels"]))


def _fields(task: ImageTask) -> dict[str, Any]:
    best = task.request.labels[: task.request.k]
    times = ("labels", "fetch", "decode", "batch_wait", "forward", "score")
    return {
        "predictions": [{"label": one, "probability": 0.1, "index": 0} for one in best],
        "model": "no-op",
        "model_digest": DIGEST,
        "timing": {"queue": task.queue_s, **dict.fromkeys(times, 0.0), "batch_size": 1},
        "embedding": None,
    }


def main(kind: str) -> None:
    """Serve until SIGTERM."""
    settings = Settings.load()
    consumer = build_queue_consumer(
        settings, queues=[settings.queue], worker="no-op", replicas=1, watch=lambda: None
    )
    consumer.probe()
    if kind == "handler":
        consumer.start(NoOpHandler(consumer))
    else:
        pipeline = NoOpPipeline(consumer)
        consumer.start(BatchHandler(consumer, pipeline, pipeline))  # type: ignore[arg-type]  # a stand-in
    garbage.settle(settings.gc_threshold)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    consumer.drain(settings.images_drain_s)


if __name__ == "__main__":
    main(sys.argv[1])
