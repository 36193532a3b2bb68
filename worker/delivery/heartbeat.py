"""Keeps the leases of what is in hand, and returns what dead workers held."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.delivery.lease_clock import lease_clock
from worker.delivery.throttled_warning import ThrottledWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.in_flight import Delivery, InFlight
    from worker.delivery.redis_queue import RedisQueue

logger = logging.getLogger(__name__)

RENEWALS_A_LEASE = 3
LONGEST_PAUSE_S = 0.5
STOP_S = 2.0  # for the thread to notice
RETRY_S = 0.25  # after Redis failed


class Heartbeat:
    """One thread that renews at a third of the lease, and reaps at least twice a second.

    A process may stand still, stopped or on a machine that sleeps, for longer than its leases last.
    What it then has in hand may be others' by now. So whoever is to begin something asks `holds`.

    Args:
        queues: One a queue.
        held: What is in hand.
        lease_s: Of the queues.
        watch: Called at each turn, for what else has to be looked at now and then.
        lost: Called with a delivery that is no longer this worker's.
        clock: See `lease_clock`.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        queues: Sequence[RedisQueue],
        held: InFlight,
        *,
        lease_s: float,
        watch: Callable[[], None],
        lost: Callable[[Delivery], None],
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        self._queues = queues
        self._in_flight = held
        self._lease_s = lease_s
        self._watch = watch
        self._lost = lost
        self._clock = clock
        self._renewing = threading.Lock()
        self._renewed = clock()
        self._stopping = threading.Event()
        self._warning = ThrottledWarning(logger, "Leases can't be renewed")
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
            with self._renewing:
                self._renew()
        for queue in list(self._queues):
            count, blamed = queue.reap(self._lease_s / 2)
            if count:
                logger.warning(
                    "%d messages of queue %r came back from a worker that is gone; %d of them were "
                    "in the making, and run apart.",
                    *(count, queue.keys.queue, blamed),
                )

    def holds(self, delivery: Delivery) -> bool:
        """Whether a delivery is still this worker's, and not ended.

        If its lease may have ended, by this worker's clock, Redis is asked; for as long as it is
        away nobody knows.
        """
        while not delivery.ended and self._is_overdue(delivery):
            try:
                self.make_sure(delivery)
            except RedisError as error:
                self._warning.warn(error)
                time.sleep(RETRY_S)
        return not delivery.ended

    def make_sure(self, delivery: Delivery) -> None:
        """If a delivery's lease may have ended, start all anew, and drop what is others' by now.

        Raises:
            RedisError: Redis failed.
        """
        with self._renewing:
            if self._is_overdue(delivery):  # else another thread was here
                self._renew()

    def _is_overdue(self, delivery: Delivery) -> bool:
        return self._clock() >= delivery.held_until

    def _renew(self) -> None:
        now = self._clock()
        deliveries, lost = self._in_flight.all(), 0
        for queue in list(self._queues):
            ours = [delivery for delivery in deliveries if delivery.queue is queue]
            gone = queue.renew(tag for delivery in ours for tag in delivery.tags)
            for delivery in ours:
                if not gone.issuperset(delivery.tags):
                    delivery.held_until = now + self._lease_s
                elif not delivery.ended:
                    self._lost(delivery)
                    lost += 1
        self._renewed = now
        if lost:
            logger.warning(
                "Dropped %d messages that are other workers' now: their leases ran out while this "
                "worker stood still or was cut off from Redis.",
                lost,
            )

    def _serve(self) -> None:
        pause_s = self.pause_s
        while not self._stopping.wait(pause_s):
            pause_s = self.pause_s
            try:
                self._watch()
                self.turn()
            except RedisError as error:
                self._warning.warn(error)
                self._renewed = self._clock() - self._lease_s  # at once when it is back
                pause_s = min(RETRY_S, self.pause_s)
            except Exception:  # a bug of ours must not let all leases run out
                logger.exception("A turn of the keeper failed")
