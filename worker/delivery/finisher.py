"""Stores what is done and lets go of its messages: all that came meanwhile in one round trip."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.delivery.chunks import chunks
from worker.delivery.complaint import Complaint
from worker.delivery.ledger import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.held import Delivery
    from worker.delivery.ledger import Ledger

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500  # so that Redis is not held up
FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 1.0


class Finisher:
    """One thread that ends deliveries, for as long as Redis is away if it must.

    Args:
        ended: Called with deliveries whose end Redis has.
        pause: Sleeps for so many seconds.
    """

    def __init__(
        self,
        ended: Callable[[Sequence[Delivery]], None],
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ended = ended
        self._pause = pause
        self._done: deque[tuple[Delivery, str, str]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._complaint = Complaint(logger, "Results wait")
        self._thread = threading.Thread(target=self._serve, name="finisher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, done: Sequence[tuple[Delivery, str, str]]) -> None:
        """Take over deliveries with the key and the text of their results; key "" for none."""
        with self._changed:
            self._done.extend(done)
            self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """Store what was handed in, for at most so long; give up the rest."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        while batch := self._next():
            for ledger, items in groupby(batch, key=lambda item: item[0].ledger):
                for chunk in chunks(items, MOST_AT_ONCE):
                    self._finish_or_forget(ledger, chunk)

    def _next(self) -> list[tuple[Delivery, str, str]]:
        with self._changed:
            while not self._done and not self._stopping:
                self._changed.wait()
            batch = list(self._done)
            self._done.clear()
            return batch

    def _finish_or_forget(self, ledger: Ledger, items: Sequence[tuple[Delivery, str, str]]) -> None:
        try:
            self._finish(ledger, items)
        except Exception:  # a bug of ours must not end the thread that ends all tasks
            logger.exception("%d tasks come again, for their results can't be stored", len(items))
            self._ended([delivery for delivery, _, _ in items])

    def _finish(self, ledger: Ledger, items: Sequence[tuple[Delivery, str, str]]) -> None:
        deliveries = [delivery for delivery, _, _ in items]
        held = self._insist(ledger, items)
        if lost := held.count(False):
            logger.warning(
                "%d results were not stored: their leases ran out, and the tasks are others' now.",
                lost,
            )
        self._ended(deliveries)

    def _insist(self, ledger: Ledger, items: Sequence[tuple[Delivery, str, str]]) -> list[bool]:
        pause_s = FIRST_PAUSE_S
        while True:
            finished = [
                Finished(tag, key, result)
                for delivery, key, result in items
                for tag in delivery.tags
            ]
            try:
                return ledger.finish(finished)
            except RedisError as error:
                self._complaint.about(error)
                self._pause(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
