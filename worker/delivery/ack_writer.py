"""Stores what is done and lets go of its messages: all that came meanwhile in one round trip."""

from __future__ import annotations

import logging
import threading
import time
from itertools import groupby
from queue import SimpleQueue
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.delivery.redis_queue import Finished
from worker.delivery.throttled_warning import ThrottledWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.in_flight import Delivery
    from worker.delivery.lease import Lease

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500  # so that Redis is not held up
FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 1.0


class AckWriter:
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
        self._done: SimpleQueue[tuple[Delivery, str, str] | None] = SimpleQueue()  # None ends it
        self._warning = ThrottledWarning(logger, "Results can't be stored")
        self._thread = threading.Thread(target=self._serve, name="ack-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, done: Sequence[tuple[Delivery, str, str]]) -> None:
        """Take over deliveries with the key and the text of their results; key "" for none."""
        for one in done:
            self._done.put(one)

    def finish_alone(self, done: tuple[Delivery, str, str]) -> None:
        """End one delivery on the caller's own thread; where Redis is away, as `add` does."""
        lease = done[0].lease
        self._finish_or_forget([done], lambda: lease.queue.finish(lease, _finished([done])))

    def stop(self, timeout_s: float) -> None:
        """Store what was handed in, for at most so long; give up the rest."""
        self._done.put(None)
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        while batch := self._next():
            for lease, items in groupby(batch, key=lambda item: item[0].lease):
                self._finish(lease, list(items))

    def _next(self) -> list[tuple[Delivery, str, str]]:
        """What has come, at least one; empty at the end."""
        batch = []
        while (done := self._done.get()) is not None:
            batch.append(done)
            if self._done.empty() or len(batch) >= MOST_AT_ONCE:
                return batch
        if batch:  # these first
            self._done.put(None)
        return batch

    def _finish(self, lease: Lease, items: Sequence[tuple[Delivery, str, str]]) -> None:
        self._finish_or_forget(items, lambda: self._insist(lease, items))

    def _finish_or_forget(
        self, items: Sequence[tuple[Delivery, str, str]], finish: Callable[[], list[bool]]
    ) -> None:
        try:
            self._let_go(items, finish())
        except RedisError:
            self.add(items)
        except Exception:  # a bug of ours must not end the thread that ends all tasks
            logger.exception("Can't store %d results; their tasks will run again", len(items))
            self._ended([delivery for delivery, _, _ in items])

    def _let_go(self, items: Sequence[tuple[Delivery, str, str]], held: Sequence[bool]) -> None:
        if lost := held.count(False):
            logger.warning(
                "%d results were not stored: their tasks are other workers' by now, because this "
                "worker's lease lapsed.",
                lost,
            )
        self._ended([delivery for delivery, _, _ in items])

    def _insist(self, lease: Lease, items: Sequence[tuple[Delivery, str, str]]) -> list[bool]:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return lease.queue.finish(lease, _finished(items))
            except RedisError as error:
                self._warning.warn(error)
                self._pause(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)


def _finished(items: Sequence[tuple[Delivery, str, str]]) -> list[Finished]:
    return [Finished(tag, key, result) for delivery, key, result in items for tag in delivery.tags]
