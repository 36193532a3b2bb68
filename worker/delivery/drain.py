"""What becomes of the messages in flight when a worker stops (docs/reliability.md, "Stopping")."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from worker.delivery.celery_bridge import CeleryBridge
    from worker.delivery.in_flight import Delivery, InFlight

logger = logging.getLogger(__name__)

POLL_S = 0.02  # of the waits
MOST_NAMES = 5  # of tasks that are waited for, in the log


class Drain:
    """Finishes what has begun and requeues the rest, once nothing more is taken.

    Args:
        in_flight: All deliveries of this process.
        celery: Knows which of them Celery runs.
        handlers: Names of the tasks that the handler can end.
        requeue: Requeues deliveries that have been claimed.
        is_urgent: Asked again and again; true ends all waiting.

    Attributes:
        given_back: How many messages.
    """

    def __init__(
        self,
        in_flight: InFlight,
        celery: CeleryBridge,
        *,
        handlers: Collection[str],
        requeue: Callable[[Sequence[Delivery]], None],
        is_urgent: Callable[[], bool],
    ) -> None:
        self.given_back = 0
        self._in_flight = in_flight
        self._celery = celery
        self._handlers = handlers
        self._requeue = requeue
        self._is_urgent = is_urgent
        self._began = time.monotonic()

    def give_back_waiting(self) -> None:
        """Requeue what waits in Celery for an ETA, a rate limit or a thread."""
        self._give_back(filter(self._in_flight.claim_waiting, self._celerys()))

    def finish(self, timeout_s: float) -> None:
        """Wait for what the handler can end, and requeue the rest of that."""
        self._wait_while(lambda: len(self._in_flight) > len(self._others()), timeout_s)
        others = set(self._others())
        self._give_back(
            d for d in self._in_flight.all() if d not in others and self._in_flight.claim(d)
        )

    def finish_others(self, longest_s: float | None) -> None:
        """Wait for other tasks that a thread runs, which can't be ended."""
        if others := self._others():
            _tell_of_wait(others, longest_s)
            self._wait_while(
                lambda: bool(self._others()), math.inf if longest_s is None else longest_s
            )

    def leave_others(self) -> bool:
        """Count what threads still run as requeued; whether there is any."""
        left = len(self._others())
        self.given_back += left
        return left > 0

    def _celerys(self) -> list[Delivery]:
        return [delivery for delivery in self._in_flight.all() if self._celery.has(delivery)]

    def _others(self) -> list[Delivery]:
        return [d for d in self._celerys() if d.envelope.task not in self._handlers and not d.ended]

    def _give_back(self, deliveries: Iterable[Delivery]) -> None:
        claimed = list(deliveries)
        self._requeue(claimed)
        self.given_back += len(claimed)

    def _wait_while(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """For at most so long since the drain began."""
        end = self._began + timeout_s
        while is_so() and time.monotonic() < end and not self._is_urgent():
            time.sleep(POLL_S)


def _tell_of_wait(deliveries: Sequence[Delivery], longest_s: float | None) -> None:
    names = [f"{task}[{task_id}]" for task, task_id in (d.name for d in deliveries)]
    logger.warning(
        "Stopping waits for %s (%s), %s. A second SIGTERM or Ctrl-C ends the worker at once and "
        "requeues them.",
        f"{len(names)} running tasks" if len(names) > 1 else "a running task",
        ", ".join(names[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else ""),
        "as long as that takes (CLIP_WORKER_DRAIN_TIMEOUT_S sets a limit)"
        if longest_s is None
        else f"{longest_s:g} s at most (CLIP_WORKER_DRAIN_TIMEOUT_S)",
    )
