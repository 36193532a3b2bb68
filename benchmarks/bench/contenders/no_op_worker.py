"""clip-worker's queue consumer around a model that does nothing, in a process of its own.

    python -m benchmarks.bench.contenders.no_op_worker handler|pipeline

`handler` puts the no-op in the place of the worker's admission: what is left is the queue consumer.
`pipeline` keeps the admission, which validates each request and builds each answer, and puts the
no-op in the place of the pipeline of pictures. Either way each delivery is noted in Redis before
it is made, as the guarantees want it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from benchmarks.bench.contenders.no_op import answer
from worker.celery import app
from worker.contract import CLASSIFY, Classification, Prediction, Timing
from worker.delivery.in_flight import Delivery
from worker.delivery.queue_consumer import QueueConsumer
from worker.pipeline.job import Job
from worker.runtime import gc_tuning as garbage
from worker.runtime.batch_handler import Admission
from worker.runtime.queue_path import build_queue_consumer
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
        """Begin with each, which writes its start into Redis first."""
        for delivery in deliveries:
            self._consumer.quarantine.enter(
                delivery, partial(self._make, delivery), partial(self._consumer.drop, delivery)
            )

    def resting(self) -> int:
        """None."""
        return 0

    def preparation_s(self) -> float:
        """None."""
        return 0.0

    def abandon(self) -> None:
        """Nothing is unfinished."""

    def _make(self, delivery: Delivery) -> None:
        labels = delivery.arguments.kwargs["labels"]
        self._consumer.succeed(delivery, json.dumps(answer(labels)))


class NoOpPipeline:
    """A pipeline of pictures without pictures."""

    resting = 0
    preparation_s = 0.0

    def __init__(self, consumer: QueueConsumer) -> None:
        self._consumer = consumer

    def submit(self, job: Job) -> Future[Classification]:
        """An answer as soon as the start is written into Redis."""
        future: Future[Classification] = Future()
        delivery = job.ticket
        assert isinstance(delivery, Delivery)
        self._consumer.quarantine.enter(
            delivery,
            lambda: future.set_result(_classification(job)),
            partial(self._consumer.drop, delivery),
        )
        return future

    def abandon(self) -> None:
        """Nothing is unfinished."""


def _classification(job: Job) -> Classification:
    best = job.labels[: job.k]
    return Classification(
        predictions=tuple(Prediction(label=one, probability=0.1, index=0) for one in best),
        model="no-op",
        model_digest=DIGEST,
        timing=Timing(
            queue=job.queue_s,
            labels=0.0,
            fetch=0.0,
            decode=0.0,
            batch_wait=0.0,
            forward=0.0,
            score=0.0,
            batch_size=1,
        ),
        embedding=None,
    )


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
        consumer.start(Admission(consumer, NoOpPipeline(consumer)))  # type: ignore[arg-type]  # a stand-in
    garbage.settle(settings.gc_threshold)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    consumer.drain(settings.pictures_drain_s)


if __name__ == "__main__":
    main(sys.argv[1])
