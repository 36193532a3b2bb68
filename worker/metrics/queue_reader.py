"""Reads what queues hold, for whoever asks often, and from a Redis that may hang."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from clip_worker.redis.queue_status import QueueStatus, queue_status
from clip_worker.redis.queue_work import work_seconds
from clip_worker.redis.worker_reports import WorkerReports

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

FRESH_S = 2.0
PATIENCE_S = 1.0  # a scrape shows the other metrics in time even if Redis hangs


@dataclass(frozen=True)
class QueueReading:
    """A queue at one moment.

    Attributes:
        status: What it holds.
        workers: Those that report or hold a lease; a killed one for up to a minute.
        work_s: Seconds of work in it; None if no worker knows its rate.
    """

    status: QueueStatus
    workers: int
    work_s: float | None


class QueueReader:
    """Asks Redis at most every two seconds, and waits for its answer for at most one.

    Args:
        redis: A client of its own, for a Redis that hangs keeps it for as long as it waits.
        queues: Names of the queues.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        redis: Redis,
        queues: Callable[[], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._queues = queues
        self._clock = clock
        self._found: tuple[QueueReading, ...] = ()
        self._read_at_s = float("-inf")
        self._is_reading = False
        self._changed = threading.Condition()

    def read(self) -> tuple[QueueReading, ...]:
        """The queues, at most two seconds old; none if Redis fails or does not answer."""
        with self._changed:
            if not self._is_fresh() and not self._is_reading:
                self._is_reading = True
                threading.Thread(target=self._read, name="queues", daemon=True).start()
            return self._found if self._changed.wait_for(self._is_fresh, PATIENCE_S) else ()

    def _is_fresh(self) -> bool:
        return self._clock() - self._read_at_s < FRESH_S

    def _read(self) -> None:
        found: tuple[QueueReading, ...] = ()
        try:
            found = tuple(map(self._reading, self._queues()))
        except RedisError as error:  # others warn of that
            logger.debug("Can't read the queues: %s", error)
        finally:
            with self._changed:
                self._found, self._read_at_s, self._is_reading = found, self._clock(), False
                self._changed.notify_all()

    def _reading(self, queue: str) -> QueueReading:
        status, reports = queue_status(self._redis, queue), WorkerReports(self._redis, queue).all()
        return QueueReading(
            status,
            workers=max(status.workers, len(reports)),
            work_s=work_seconds(status.total_messages, reports),
        )
