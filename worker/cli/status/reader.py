"""Reads a snapshot from Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from clip_worker.contract.keys import QueueKeys
from clip_worker.redis.error_translation import translated
from clip_worker.redis.misrouted import CELERY_QUEUE, misrouted
from clip_worker.redis.queue_status import queue_status
from clip_worker.redis.queue_work import work_seconds
from clip_worker.redis.worker_reports import WorkerReports
from worker.cli.status.snapshot import QueueView, RedisMemory, SeenWorker, Snapshot
from worker.cli.status.trend import Trend

if TYPE_CHECKING:
    from redis import Redis


class SnapshotReader:
    """Reads snapshots of some queues, one after the other.

    Args:
        redis: Client of the Redis that the queues are in; it returns bytes.
        url: Its URL, for error messages.
        queues: Names of the queues.
    """

    def __init__(self, redis: Redis, url: str, queues: Sequence[str]) -> None:
        self._redis = redis
        self._url = url
        self._queues = queues
        self._trends = {queue: Trend() for queue in queues}

    def read(self) -> Snapshot:
        """A new snapshot.

        Raises:
            QueueUnavailableError: Redis can't be reached, or rejects a command.
        """
        with translated(self._url):
            seconds, microseconds = self._redis.time()
            at = seconds + microseconds / 1_000_000
            queues = tuple(self._queue(queue, at) for queue in self._queues)
            return Snapshot(at, queues, self._memory(), self._misrouted())

    def _queue(self, queue: str, at: float) -> QueueView:
        status = queue_status(self._redis, queue)
        workers = self._workers(queue, at)
        live = [worker.report for worker in workers if not worker.is_silent]
        growth_per_s = self._trends[queue].add(at, status.total_messages)
        return QueueView(status, workers, work_seconds(status.total_messages, live), growth_per_s)

    def _workers(self, queue: str, at: float) -> tuple[SeenWorker, ...]:
        reports = WorkerReports(self._redis, queue).all()
        # When they came, by Redis's clock: that of a worker may be wrong.
        scores: Any = self._redis.zrange(QueueKeys(queue).reports, 0, -1, withscores=True)
        came = {name.decode(errors="replace"): time for name, time in scores}
        return tuple(
            SeenWorker(report, max(0.0, at - came.get(report.worker, at))) for report in reports
        )

    def _memory(self) -> RedisMemory | None:
        try:
            found = self._redis.info("memory")
            used, limit = int(found["used_memory"]), int(found["maxmemory"])
            return RedisMemory(used, limit, str(found["maxmemory_policy"]))
        except (ResponseError, LookupError):  # not allowed, or not known
            return None

    def _misrouted(self) -> int:
        try:
            return 0 if CELERY_QUEUE in self._queues else misrouted(self._redis)
        except NoPermissionError:
            return 0
