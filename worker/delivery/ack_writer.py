"""Writes results and acknowledges their messages: all that came meanwhile in one round trip."""

from __future__ import annotations

import logging
import threading
from functools import partial
from itertools import groupby
from queue import SimpleQueue
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.delivery.throttled_warning import ThrottledWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.delivery import Ack, Delivery, Lease

logger = logging.getLogger(__name__)

ENOUGH = 500  # for one round trip


class AckWriter:
    """One thread that writes the ends of deliveries, for as long as Redis is away if it must.

    Args:
        ended: Called with deliveries whose end Redis has.
    """

    def __init__(self, ended: Callable[[Sequence[Delivery]], None]) -> None:
        self._ended = ended
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

    def stop(self, timeout_s: float) -> None:
        """Write what was added, for at most so long; give up the rest."""
        self._acks.put(())
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        while batch := self._next():
            for lease, group in groupby(batch, key=lambda ack: ack.delivery.lease):
                self._warning.insist(partial(self._write, lease, list(group)))

    def _next(self) -> list[Ack]:
        """What has come, at least one; empty at the end."""
        batch: list[Ack] = []
        while acks := self._acks.get():
            batch.extend(acks)
            if self._acks.empty() or len(batch) >= ENOUGH:
                return batch
        if batch:  # these first
            self._acks.put(())
        return batch

    def _write(self, lease: Lease, acks: Sequence[Ack]) -> None:
        try:
            if lost := lease.queue.finish(lease, acks).count(False):
                logger.warning(
                    "%d results were not stored, because this worker's lease lapsed: other "
                    "workers have these tasks now.",
                    lost,
                )
        except RedisError:
            raise
        except Exception:  # a bug of ours must not end the thread that ends all tasks
            logger.exception("Can't store %d results; their tasks will run again", len(acks))
        self._ended([ack.delivery for ack in acks])
