"""The product's queue consumer without the product's model: a worker that starts in a moment.

Its handler does nothing for `TORTURE_WORK_S` seconds, on 16 threads. Settings are the product's;
`TORTURE_JOURNAL` as elsewhere.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from torture.journal import END, READY, RUN, Journal
from torture.message import TASK, number_of
from worker.celery import app
from worker.runtime.queue_assembly import build_queue_consumer
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.delivery.delivery import Delivery
    from worker.delivery.queue_consumer import QueueConsumer

THREADS = 16


@app.task(name=TASK)
def classify(**_: object) -> None:
    """Never called: the queue path refuses a task that is not registered."""


class Idler:
    """A handler that lets a little time pass."""

    def __init__(self, consumer: QueueConsumer, journal: Journal, work_s: float) -> None:
        self._consumer = consumer
        self._journal = journal
        self._work_s = work_s
        self._pool = ThreadPoolExecutor(THREADS)

    def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Begin each; first Redis notes it, on another thread, because Redis may be away."""
        if deliveries:
            self._pool.submit(self._begin, deliveries)

    def resting(self) -> int:
        """None waits for a time of its own."""
        return 0

    def is_full(self) -> bool:
        """It takes no memory."""
        return False

    def preparation_s(self) -> float:
        """Nothing has to be prepared."""
        return 0.0

    def abandon(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in self._consumer.begin_all(deliveries):
            self._pool.submit(self._work, delivery)

    def _work(self, delivery: Delivery) -> None:
        number = number_of(delivery.arguments.kwargs["image"])
        self._journal.write(RUN, number)
        time.sleep(self._work_s)
        self._journal.write(END, number)
        self._consumer.acks.succeed(delivery, '"done"')


def main(_: Sequence[str]) -> int:
    """Work until SIGTERM, then drain."""
    settings = Settings.load()
    journal = Journal(Path(os.environ["TORTURE_JOURNAL"]))
    consumer = build_queue_consumer(
        settings,
        queues=[settings.queue],
        worker=f"path-{os.getpid()}",
        replicas=1,
        watch=lambda: None,
    )
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    consumer.start(Idler(consumer, journal, float(os.environ["TORTURE_WORK_S"])))
    journal.write(READY)
    ending.wait()
    consumer.drain(settings.images_drain_s)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
