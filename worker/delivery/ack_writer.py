"""Writes results and acknowledges their messages: all that came meanwhile in one round trip."""

from __future__ import annotations

import logging
import threading
import time
from itertools import groupby
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

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

# A delivery, the key of its result and the result; both "" for none.
Ack: TypeAlias = "tuple[Delivery, str, str]"


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
        self._acks: SimpleQueue[Sequence[Ack]] = SimpleQueue()  # an empty one ends the thread
        self._warning = ThrottledWarning(logger, "Results can't be stored")
        self._thread = threading.Thread(target=self._serve, name="ack-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, acks: Sequence[Ack]) -> None:
        """Take over what has ended."""
        if acks:
            self._acks.put(acks)

    def write_alone(self, ack: Ack) -> None:
        """End one delivery on the caller's own thread; where Redis is away, as `add` does."""
        try:
            self._write(ack[0].lease, [ack])
        except RedisError:
            self.add([ack])

    def stop(self, timeout_s: float) -> None:
        """Write what was added, for at most so long; give up the rest."""
        self._acks.put(())
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        while batch := self._next():
            for lease, group in groupby(batch, key=lambda ack: ack[0].lease):
                acks = list(group)
                for i in range(0, len(acks), MOST_AT_ONCE):
                    self._insist(lease, acks[i : i + MOST_AT_ONCE])

    def _next(self) -> list[Ack]:
        """What has come, at least one; empty at the end."""
        batch: list[Ack] = []
        while acks := self._acks.get():
            batch.extend(acks)
            if self._acks.empty() or len(batch) >= MOST_AT_ONCE:
                return batch
        if batch:  # these first
            self._acks.put(())
        return batch

    def _insist(self, lease: Lease, acks: Sequence[Ack]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._write(lease, acks)
            except RedisError as error:
                self._warning.warn(error)
                self._pause(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
            else:
                return

    def _write(self, lease: Lease, acks: Sequence[Ack]) -> None:
        done = [Finished(tag, key, text) for each, key, text in acks for tag in each.tags]
        try:
            held = lease.queue.finish(lease, done)
            if lost := held.count(False):
                logger.warning(
                    "%d results were not stored: their tasks are other workers' by now, because "
                    "this worker's lease lapsed.",
                    lost,
                )
        except RedisError:
            raise
        except Exception:  # a bug of ours must not end the thread that ends all tasks
            logger.exception("Can't store %d results; their tasks will run again", len(acks))
        self._ended([delivery for delivery, _, _ in acks])
