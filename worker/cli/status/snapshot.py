"""What `clip-worker status` knows at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from clip_worker.contract.worker_report import REPORT_EVERY_S, WorkerReport
from clip_worker.redis.queue_status import QueueStatus

SILENT_AFTER_S = 6 * REPORT_EVERY_S  # a busy machine may delay a report or two


@dataclass(frozen=True)
class SeenWorker:
    """A worker, as it reported last.

    Attributes:
        report: Its last report.
        age_s: Seconds since that, by Redis's clock.
    """

    report: WorkerReport
    age_s: float

    @property
    def is_silent(self) -> bool:
        """Whether reports of it are overdue."""
        return self.age_s > SILENT_AFTER_S


@dataclass(frozen=True)
class QueueView:
    """A queue and its workers.

    Attributes:
        status: What it holds.
        workers: Those that report, by name, the silent ones included.
        work_s: Seconds that they need for what it holds, if nothing comes; None if unknown.
        growth_per_s: Messages by which it has grown a second, of late; None until measured.
    """

    status: QueueStatus
    workers: tuple[SeenWorker, ...]
    work_s: float | None = None
    growth_per_s: float | None = None

    @property
    def live(self) -> list[WorkerReport]:
        """The reports that are not overdue."""
        return [worker.report for worker in self.workers if not worker.is_silent]

    @property
    def images_per_s(self) -> float:
        """Images that all its workers end a second."""
        return sum(report.images_per_s for report in self.live)


@dataclass(frozen=True)
class RedisMemory:
    """How full Redis is, and what it does when it is full.

    Attributes:
        used_bytes: Of its data and buffers.
        limit_bytes: Its `maxmemory`; 0 for none.
        policy: Its `maxmemory-policy`.
    """

    used_bytes: int
    limit_bytes: int
    policy: str


@dataclass(frozen=True)
class Snapshot:
    """All that was read.

    Attributes:
        at: Unix time in seconds, by Redis's clock.
        queues: In the order in which they were asked for.
        memory: None if this user may not ask for it.
        misrouted: Messages in Celery's default queue, if the oldest of them is for clip-worker.
    """

    at: float
    queues: tuple[QueueView, ...]
    memory: RedisMemory | None = None
    misrouted: int = 0

    @property
    def workers(self) -> list[SeenWorker]:
        """The workers of all queues, by name; each once."""
        found = {each.report.worker: each for queue in self.queues for each in queue.workers}
        return [found[name] for name in sorted(found)]
