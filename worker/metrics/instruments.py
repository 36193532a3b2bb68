"""Counts what happens in one worker process.

Whoever counts is given an `Instruments`; it counts a batch of tasks in one step, since the process
that holds the model has less than 200 µs for an image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector

from worker.metrics.catalogue import COUNTED
from worker.metrics.codes import label_of
from worker.metrics.counts import Counts
from worker.metrics.histogram import Histogram

TaskOutcome = Literal["succeeded", "failed", "revoked", "requeued", "dead_letter"]
ImageOutcome = Literal["succeeded", "failed", "requeued"]
BatchReason = Literal["full", "idle", "waited", "deadline", "alone"]
STAGES = ("queue", "labels", "fetch", "decode", "batch_wait", "forward", "score")

_METRICS = {metric.name: metric for metric in COUNTED}


class Instruments:
    """The counters of one process. Threads may share it.

    Args:
        registry: Where they are shown; None for one of their own.

    Attributes:
        registry: What a scrape shows; other collectors may be added.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._tasks = Counts(_METRICS["tasks_total"])
        self._images = Counts(_METRICS["images_total"])
        self._batches = Counts(_METRICS["batches_total"])
        self._fetch_retries = Counts(_METRICS["fetch_retries_total"])
        self._stages = Histogram(_METRICS["stage_seconds"], STAGES)
        self._batch_images = Histogram(_METRICS["batch_images"])
        self._redis = Histogram(_METRICS["redis_seconds"])
        self._lookups = Counts(_METRICS["embedding_lookups_total"])
        self._stored = Counts(_METRICS["embeddings_stored_total"])
        self._store = Histogram(_METRICS["embedding_store_seconds"], ("read", "write"))
        counted = (self._tasks, self._images, self._batches, self._fetch_retries)
        kept = (self._lookups, self._stored, self._store)
        for collector in (*counted, self._stages, self._batch_images, self._redis, *kept):
            self.registry.register(collector)
        ProcessCollector(registry=self.registry)

    def task_ended(
        self, queue: str, task: str, outcome: TaskOutcome, code: str = "", count: int = 1
    ) -> None:
        """Count tasks.

        Args:
            queue: Name of a queue that this worker consumes.
            task: Name of a registered task.
            outcome: How they ended.
            code: Of the error; any text.
            count: How many.
        """
        self._tasks.add(queue, task, outcome, code and label_of(code), count=count)

    def image_ended(self, outcome: ImageOutcome, code: str = "", count: int = 1) -> None:
        """Count images; `code` may be any text."""
        self._images.add(outcome, code and label_of(code), count=count)

    def stages_ended(self, timings: Sequence[Mapping[str, float | None]]) -> None:
        """Count how long images took, in seconds by stage."""
        self._stages.observe_rows(timings)

    def batch_ran(self, images: int, reason: BatchReason) -> None:
        """Count a forward pass."""
        self._batches.add(reason)
        self._batch_images.observe(images)

    def fetch_retried(self, code: str) -> None:
        """Count a further attempt at an image; `code` may be any text."""
        self._fetch_retries.add(label_of(code))

    def redis_answered(self, seconds: float) -> None:
        """Count a round trip."""
        self._redis.observe(seconds)

    def embeddings_looked_up(self, outcome: Literal["hit", "miss", "skipped"], count: int) -> None:
        """Count images that were looked up in the embedding store."""
        self._lookups.add(outcome, count=count)

    def embeddings_stored(self, outcome: Literal["written", "dropped"], count: int) -> None:
        """Count embeddings that were to be stored."""
        self._stored.add(outcome, count=count)

    def embedding_store_answered(self, operation: Literal["read", "write"], seconds: float) -> None:
        """Count a read or a write of the embedding store."""
        self._store.observe(seconds, operation)

    @property
    def images(self) -> int:
        """Images that succeeded or failed."""
        counts = self._images.all()
        return sum(count for (outcome, _), count in counts.items() if outcome != "requeued")

    @property
    def failures(self) -> dict[str, int]:
        """Tasks that failed or became dead letters, by the label of their code."""
        found: Counter[str] = Counter()
        for (_, _, outcome, code), count in self._tasks.all().items():
            if outcome in ("failed", "dead_letter"):
                found[code] += count
        return dict(found)

    @property
    def fetch_retries(self) -> int:
        """Further attempts at images."""
        return sum(self._fetch_retries.all().values())

    @property
    def batches(self) -> tuple[int, float]:
        """Forward passes, and images in all of them."""
        return self._batch_images.totals()

    @property
    def redis_round_trips(self) -> tuple[int, float]:
        """Round trips, and the seconds of all of them."""
        return self._redis.totals()
