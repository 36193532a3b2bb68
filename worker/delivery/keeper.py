"""Keeps the leases of what is in hand, and returns what dead workers held."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.delivery.complaint import Complaint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.held import Held
    from worker.delivery.ledger import Ledger

logger = logging.getLogger(__name__)

RENEWALS_A_LEASE = 3
LONGEST_PAUSE_S = 0.5
STOP_S = 2.0  # for the thread to notice
RETRY_S = 0.25  # after Redis failed


class Keeper:
    """One thread that renews at a third of the lease, and reaps at least twice a second.

    Args:
        ledgers: One a queue.
        held: What is in hand.
        lease_s: Of the ledgers.
        watch: Called at each turn, for what else has to be looked at now and then.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        ledgers: Sequence[Ledger],
        held: Held,
        *,
        lease_s: float,
        watch: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledgers = ledgers
        self._held = held
        self._lease_s = lease_s
        self._watch = watch
        self._clock = clock
        self._renewed = clock()
        self._stopping = threading.Event()
        self._complaint = Complaint(logger, "Leases can't be renewed")
        self._thread = threading.Thread(target=self._serve, name="keeper", daemon=True)

    @property
    def pause_s(self) -> float:
        """Between two turns."""
        return min(LONGEST_PAUSE_S, self._lease_s / 10)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def turn(self) -> None:
        """Renew if it is time, then reap.

        Raises:
            RedisError: Redis failed; the turn has to be taken again.
        """
        if self._clock() - self._renewed >= self._lease_s / RENEWALS_A_LEASE - self.pause_s / 2:
            now = self._clock()
            self._renew()
            self._renewed = now
        for ledger in self._ledgers:
            count, blamed = ledger.reap(self._lease_s / 2)
            if count:
                logger.warning(
                    "%d messages of queue %r came back from a worker that is gone; %d of them were "
                    "in the making, and run apart.",
                    *(count, ledger.keys.queue, blamed),
                )

    def _renew(self) -> None:
        deliveries = self._held.all()
        for ledger in self._ledgers:
            ledger.renew(tag for d in deliveries if d.ledger is ledger for tag in d.tags)

    def _serve(self) -> None:
        pause_s = self.pause_s
        while not self._stopping.wait(pause_s):
            pause_s = self.pause_s
            try:
                self._watch()
                self.turn()
            except RedisError as error:
                self._complaint.about(error)
                self._renewed = self._clock() - self._lease_s  # at once when it is back
                pause_s = min(RETRY_S, self.pause_s)
            except Exception:  # a bug of ours must not let all leases run out
                logger.exception("A turn of the keeper failed")
