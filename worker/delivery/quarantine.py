"""Which messages were begun when a worker died, so that one that kills workers is found.

What was begun when its worker died is a suspect: the batcher (`worker.pipeline.batcher`) runs it
with a few other suspects and nothing else after one crash, and alone after two or more. Only a
message that was alone is ever given up. Begun means handed to the model; what was only fetched,
prepared or waiting is never a suspect.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.delivery.throttled_warning import ThrottledWarning
from worker.delivery.unacked_entry import TOGETHER_UNKNOWN, Crash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.in_flight import Delivery
    from worker.delivery.redis_queue import RedisQueue

logger = logging.getLogger(__name__)

RETRY_S = 0.25  # after Redis failed


def is_condemned(crashes: Sequence[Crash], max_deliveries: int) -> bool:
    """Whether a message with this history is not to be tried again.

    Args:
        crashes: Newest first.
        max_deliveries: After so many crashes, if it was alone in the last.
    """
    return len(crashes) >= max_deliveries and crashes[0].together == 1


class Quarantine:
    """Notes in Redis what is begun. Threads may share it.

    Args:
        worker: This worker's name, for the histories.
        pause: Sleeps for so many seconds.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        *,
        worker: str,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._worker = worker
        self._pause = pause
        self._now = now
        self._warning = ThrottledWarning(logger, "Nothing can be begun")

    def begin(self, deliveries: Sequence[Delivery], together: int | None) -> list[Delivery]:
        """Note that deliveries are begun; while Redis is away it waits.

        Args:
            deliveries: In flight.
            together: How many run apart from all others, None for any number of others.

        Returns:
            Those that are still this worker's.
        """
        crash = Crash(self._now(), together or TOGETHER_UNKNOWN, self._worker)
        by_queue: dict[RedisQueue, list[Delivery]] = {}
        for delivery in deliveries:
            by_queue.setdefault(delivery.queue, []).append(delivery)
        return [
            delivery
            for queue, its in by_queue.items()
            for delivery in self._begin(queue, its, crash)
        ]

    def _begin(
        self, queue: RedisQueue, deliveries: Sequence[Delivery], crash: Crash
    ) -> list[Delivery]:
        pairs = [(delivery, tag) for delivery in deliveries for tag in delivery.tags]
        while True:
            try:
                flags = queue.start([tag for _, tag in pairs], crash)
            except RedisError as error:
                self._warning.warn(error)
                self._pause(RETRY_S)
            else:
                held = (delivery for (delivery, _), ours in zip(pairs, flags, strict=True) if ours)
                return list(dict.fromkeys(held))
