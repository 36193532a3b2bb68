"""Logs one line a minute about what a worker did, if it did or should do anything."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from clip_worker.redis.queue_status import queue_status
from worker.logs.setup import MINUTE_LOGGER

if TYPE_CHECKING:
    from redis import Redis

    from clip_worker.contract.worker_report import WorkerReport

logger = logging.getLogger(MINUTE_LOGGER)

EVERY_S = 60.0
MOST_CODES = 8


class MinuteLog:
    """One thread, which compares the worker's report with that of a minute ago.

    Args:
        redis: A client of its own.
        report: Makes the report.
        every_s: Seconds between two lines.
    """

    def __init__(
        self, redis: Redis, report: Callable[[], WorkerReport], every_s: float = EVERY_S
    ) -> None:
        self._redis = redis
        self._report = report
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="minute-log", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; it is not waited for, because Redis may hang."""
        self._stopping.set()

    def _serve(self) -> None:
        before = self._report()
        while not self._stopping.wait(self._every_s):
            after = self._report()
            if line := minute_line(before, after, self._waiting(after), self._every_s):
                logger.info(line)
            before = after
        self._redis.close()

    def _waiting(self, report: WorkerReport) -> int | None:
        """Messages that wait in the worker's queues; None if Redis does not say."""
        try:
            return sum(queue_status(self._redis, queue).messages for queue in report.queues)
        except RedisError:  # the heartbeat warns of that
            return None


def minute_line(
    before: WorkerReport, after: WorkerReport, waiting: int | None, seconds: float
) -> str | None:
    """What happened between two reports; None if nothing did and nothing waits.

    Args:
        before: The first.
        after: The second.
        waiting: Messages in the queues; None if unknown.
        seconds: Between the two.
    """
    images = after.images - before.images
    failed = Counter(after.failures) - Counter(before.failures)
    if not (images or failed or after.in_flight or waiting):
        return None
    mean = f", {after.batch_images:.1f} a batch" if images and after.batch_images else ""
    waits = "Redis does not say how many messages" if waiting is None else f"{waiting:,} messages"
    parts = (
        f"{images:,} images in {seconds:.0f} s, {images / seconds:.1f} a second{mean}",
        f"{waits} wait, {after.in_flight:,} images are in flight",
        *((f"failed tasks: {_by_code(failed)}",) if failed else ()),
        *((f"the worker is {after.state}",) if after.state != "ready" else ()),
    )
    return "; ".join(parts) + "."


def _by_code(failed: Mapping[str, int]) -> str:
    most = sorted(failed.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{count:,} {code}" for code, count in most[:MOST_CODES]]
    rest = sum(count for _, count in most[MOST_CODES:])
    return ", ".join([*shown, *((f"{rest:,} with other codes",) if rest else ())])
