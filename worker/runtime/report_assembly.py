"""Builds what a worker says about itself, and lets Prometheus see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clip_worker.redis.url import connect
from worker.metrics.catalogue import OF_QUEUES, OF_WORKER
from worker.metrics.queue_reader import QueueReader
from worker.metrics.queue_values import queue_values
from worker.metrics.readings import Readings
from worker.runtime.readings import readings
from worker.runtime.report import SelfReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_worker.contract.worker_report import WorkerState
    from worker.metrics.instruments import Instruments
    from worker.settings import Settings


def build_report(
    settings: Settings,
    worker: str,
    queues: Sequence[str],
    instruments: Instruments,
    state: Callable[[], WorkerState],
) -> SelfReport:
    """The report of a worker, which is about its start until the worker's parts are attached.

    Args:
        settings: Of this worker.
        worker: Its name.
        queues: Names of the queues that it takes tasks from.
        instruments: What it counts; their registry gets the metrics that are read off the report,
            and those of the queues.
        state: What it does.
    """
    reader = QueueReader(
        connect(settings.redis_url, retries=0, most=2), lambda: report.current().queues
    )
    report = SelfReport(
        worker=worker, queues=queues, model=settings.model, instruments=instruments, state=state
    )
    instruments.registry.register(Readings(OF_WORKER, lambda: readings(report)))
    instruments.registry.register(Readings(OF_QUEUES, lambda: queue_values(reader.read())))
    return report
