"""What this worker says about itself: to `clip-worker status` by Redis, to Prometheus, to logs."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from clip_worker.contract.worker_report import (
    REPORT_EVERY_S,
    GpuReport,
    WorkerReport,
    WorkerState,
)
from clip_worker.version import __version__
from worker.metrics.recent import Recent, Totals

if TYPE_CHECKING:
    from worker.metrics.instruments import Instruments
    from worker.runtime.state import Runtime

GPU_EVERY_S = 10.0  # its driver is asked; each time costs milliseconds
BUSY_SHARE = 0.5  # of the window; a worker that can take what it wants holds three quarters or more


class SelfReport:
    """Makes the report, anew if the last one is older than two seconds. Threads may share it.

    Args:
        worker: Celery's name of this node.
        queues: Names of the queues that it takes tasks from.
        model: Name of the model, as in the settings.
        instruments: What it counts.
        state: What it does.
        now: Unix time in seconds.
        clock: Seconds, monotonic.

    Attributes:
        warnings: What is wrong with this worker, a sentence each.
    """

    def __init__(  # noqa: PLR0913  # what a report is about, by name
        self,
        *,
        worker: str,
        queues: Sequence[str],
        model: str,
        instruments: Instruments,
        state: Callable[[], WorkerState],
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker = worker
        self.warnings: tuple[str, ...] = ()
        self._queues = tuple(queues)
        self._model = model
        self._instruments = instruments
        self._state = state
        self._now = now
        self._clock = clock
        self._started_at = now()
        self._runtime: Runtime | None = None
        self._recent = Recent()
        self._gpu: GpuReport | None = None
        self._gpu_at_s = self._made_at_s = float("-inf")
        self._last: WorkerReport | None = None
        self._making = threading.Lock()

    def attach(self, runtime: Runtime) -> None:
        """Report about these parts of the worker from now on."""
        self._runtime = runtime

    def warn(self, sentence: str) -> None:
        """Add a warning to all further reports."""
        self.warnings = (*self.warnings, sentence)

    def webhooks(self) -> dict[str, int]:
        """Attempts to post to webhooks, by outcome."""
        poster = self._runtime and self._runtime.poster
        return poster.counts() if poster else {"posted": 0, "retried": 0, "failed": 0}

    def texts(self) -> dict[str, int]:
        """Prompts that were encoded, and labels that were not, by the metrics' names."""
        labels = self._runtime and self._runtime.engine.labels
        return {
            "texts_encoded_total": labels.texts_encoded if labels else 0,
            "labels_shared_total": labels.labels_shared if labels else 0,
        }

    def current(self) -> WorkerReport:
        """The report."""
        with self._making:
            now_s = self._clock()
            # A little less: who asks every two seconds gets a new one each time.
            if self._last is None or now_s - self._made_at_s >= 0.9 * REPORT_EVERY_S:
                self._last, self._made_at_s = self._make(now_s), now_s
            return self._last

    def _make(self, now_s: float) -> WorkerReport:
        runtime = self._runtime
        self._recent.look(self._totals(now_s, runtime))
        batches, _ = self._instruments.batches
        return WorkerReport(
            worker=self.worker,
            host=platform.node(),
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            reported_at=self._now(),
            state=self._state(),
            queues=runtime.consumer.queue_names if runtime else self._queues,
            model=self._model,
            images=self._instruments.images,
            images_per_s=self._recent.images_per_s,
            usual_images_per_s=self._recent.usual_images_per_s,
            batches=batches,
            batch_images=self._recent.batch_images,
            images_per_message=self._recent.images_per_message,
            failures=self._instruments.failures,
            fetch_retries=self._instruments.fetch_retries,
            redis_round_trip_s=self._recent.round_trip_s,
            warnings=self.warnings,
        ).model_copy(update=self._of_parts(runtime, now_s) if runtime else {})

    def _totals(self, now_s: float, runtime: Runtime | None) -> Totals:
        batches, batch_images = self._instruments.batches
        round_trips, round_trips_s = self._instruments.redis_round_trips
        consumer = runtime and runtime.consumer
        return Totals(
            now_s,
            images=self._instruments.images,
            batches=batches,
            batch_images=batch_images,
            messages=consumer.taken_messages if consumer else 0,
            message_images=consumer.taken_images if consumer else 0,
            round_trips=round_trips,
            round_trips_s=round_trips_s,
            is_busy=runtime is not None and _is_busy(runtime),
        )

    def _of_parts(self, runtime: Runtime, now_s: float) -> dict[str, Any]:
        """What is known once the model is loaded."""
        engine, pipeline, pool = runtime.engine, runtime.pipeline, runtime.pool
        return {
            "model": engine.identity.name,
            "model_digest": engine.identity.digest,
            "device": runtime.device.name,
            "precision": engine.model.precision,
            "largest_batch": engine.max_batch,
            "in_flight": held_images(runtime),
            "resting": pipeline.resting,
            "hosts_resting": pipeline.hosts_resting,
            "label_cache_hits": engine.labels.hits,
            "label_cache_misses": engine.labels.misses,
            "preparation_processes": pool.process_count,
            "preparation_restarts": pool.restarts,
            "gpu": self._read_gpu(runtime, now_s),
        }

    def _read_gpu(self, runtime: Runtime, now_s: float) -> GpuReport | None:
        if now_s - self._gpu_at_s >= GPU_EVERY_S:
            self._gpu_at_s, self._gpu = now_s, gpu_report(runtime.gpu_stats())
        return self._gpu


def held_images(runtime: Runtime) -> int:
    """Images of the tasks that a worker holds; on kombu's transport those in its pipeline."""
    return max(runtime.consumer.in_flight.busy, runtime.pipeline.in_flight)


def _is_busy(runtime: Runtime) -> bool:
    working = held_images(runtime) - runtime.pipeline.resting
    return working >= max(1.0, BUSY_SHARE * runtime.consumer.window)


def gpu_report(stats: dict[str, Any] | None) -> GpuReport | None:
    """What is reported of `worker.runtime.gpu.gpu_stats`; None on a CPU."""
    if stats is None:
        return None
    names = ("uuid", "use_percent", "memory_used_bytes", "memory_total_bytes")
    known = {name: stats.get(name) for name in names}
    return GpuReport(name=stats.get("name") or stats["device"], **known)
