"""Writes this worker's report into Redis every two seconds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from clip_worker.contract.worker_report import REPORT_EVERY_S
from clip_worker.redis.worker_reports import WorkerReports

if TYPE_CHECKING:
    from redis import Redis

    from clip_worker.contract.worker_report import WorkerReport

logger = logging.getLogger(__name__)


class ReportWriter:
    """One thread, `reports`. While Redis is away nothing else waits for it, and it logs nothing.

    Args:
        redis: A client of its own, for a Redis that hangs keeps it for as long as it waits; it is
            closed in the end.
        report: Makes the report.
        every_s: Seconds between two reports.
    """

    def __init__(
        self, redis: Redis, report: Callable[[], WorkerReport], every_s: float = REPORT_EVERY_S
    ) -> None:
        self._redis = redis
        self._report = report
        self._every_s = every_s
        self._stores: dict[str, WorkerReports] = {}  # by queue
        self._worker = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="reports", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Remove the report and end the thread, for at most so long; else the report expires."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _serve(self) -> None:
        self._try(self._put)
        while not self._stopping.wait(self._every_s):
            self._try(self._put)
        self._try(self._remove)
        self._redis.close()

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except RedisError as error:  # the heartbeat warns of that, and the next report comes soon
            logger.debug("Can't write this worker's report: %s", error)
        except Exception:
            logger.exception("This worker's report can't be made")

    def _put(self) -> None:
        report = self._report()
        for queue in report.queues:
            store = self._stores.setdefault(queue, WorkerReports(self._redis, queue))
            self._worker = report.worker
            store.put(report)

    def _remove(self) -> None:
        for store in self._stores.values():
            store.remove(self._worker)
