"""What becomes of the messages in flight when a worker stops (docs/reliability.md, "Stopping")."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from worker.delivery.acks import Acks
    from worker.delivery.delivery import Delivery
    from worker.delivery.in_flight import InFlight

logger = logging.getLogger(__name__)

POLL_S = 0.02  # of the waits
MOST_NAMES = 5  # of tasks that are waited for, in the log


@dataclass
class Drain:
    """Finishes what has begun and requeues the rest, once nothing more is taken.

    Attributes:
        in_flight: All deliveries of this process.
        acks: Requeues them.
        handlers: Names of the tasks that the handler can end.
        is_urgent: Asked again and again; true ends all waiting.
        given_back: How many messages were requeued.
    """

    in_flight: InFlight
    acks: Acks
    handlers: Collection[str]
    is_urgent: Callable[[], bool]
    given_back: int = 0
    began: float = field(default_factory=time.monotonic)

    def give_back_waiting(self) -> None:
        """Requeue what waits in Celery for an ETA, a rate limit or a thread."""
        self._give_back([d for d in self.in_flight.all() if d.in_celery], waiting=True)

    def finish(self, timeout_s: float) -> None:
        """Wait for what the handler can end, and requeue the rest of that."""
        self._wait_while(lambda: len(self.in_flight) > len(self._others()), timeout_s)
        others = self._others()
        self._give_back([d for d in self.in_flight.all() if d not in others])

    def finish_others(self, longest_s: float | None) -> None:
        """Wait for other tasks that a thread runs, which can't be ended."""
        if others := self._others():
            _log_wait(others, longest_s)
            self._wait_while(
                lambda: bool(self._others()), math.inf if longest_s is None else longest_s
            )

    def leave_others(self) -> bool:
        """Count what threads still run as requeued; whether there is any."""
        left = len(self._others())
        self.given_back += left
        return left > 0

    def _others(self) -> list[Delivery]:
        return [
            delivery
            for delivery in self.in_flight.all()
            if delivery.in_celery
            and not delivery.ended
            and delivery.envelope.task not in self.handlers
        ]

    def _give_back(self, deliveries: Sequence[Delivery], *, waiting: bool = False) -> None:
        self.given_back += self.acks.give_back_all(deliveries, waiting=waiting)

    def _wait_while(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """For at most so long since the drain began."""
        end = self.began + timeout_s
        while is_so() and time.monotonic() < end and not self.is_urgent():
            time.sleep(POLL_S)


def _log_wait(deliveries: Sequence[Delivery], longest_s: float | None) -> None:
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
