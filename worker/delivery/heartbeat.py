"""Renews a worker's leases, and reclaims the messages of workers whose leases have lapsed."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.delivery.delivery import Lease, lease_clock
from worker.delivery.throttled_warning import RETRY_S, ThrottledWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.delivery import Delivery
    from worker.delivery.in_flight import InFlight
    from worker.delivery.redis_queue import RedisQueue

logger = logging.getLogger(__name__)

RENEWALS_A_LEASE = 3
IDLE_LEASES = 3  # longest pause of a worker that holds nothing, in leases
USUAL_PAUSE_S = 0.5  # between two looks for lapsed leases, by any worker
STOP_S = 2.0  # for the thread to notice
SLOWER, FASTER = 1.5, 0.5


class Heartbeat:
    """One thread that renews and reaps, and watches this process in between.

    Renewing and reaping are one script, so a heartbeat costs Redis the same for any number of
    messages. Workers share the looks: all together look about twice a second. Each that holds
    messages also looks three times a lease, to renew its own.

    A process may stand still, stopped or on a machine that sleeps, for longer than its leases last.
    Other workers may then have what it holds. So a thread asks `holds` before it begins a message.

    Args:
        queues: All queues of this worker; the list may grow.
        in_flight: Their messages.
        lease_s: Of the queues.
        watch: Called at each turn, for what else has to be looked at now and then.
        lost: Called with a delivery that is no longer this worker's.
        wake: Called when messages wait to be taken, in case no idle worker was woken for them.
        clock: See `lease_clock`.

    Attributes:
        pause_s: Seconds between two looks of this worker while it holds nothing.
        shortest_pause_s: The same where no other worker looks.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        queues: Sequence[RedisQueue],
        in_flight: InFlight,
        *,
        lease_s: float,
        watch: Callable[[], None],
        lost: Callable[[Delivery], None],
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        self.pause_s = self.shortest_pause_s = min(USUAL_PAUSE_S, lease_s / 10)
        self._queues = queues
        self._in_flight = in_flight
        self._lease_s = lease_s
        self._watch = watch
        self._lost = lost
        self._wake = wake
        self._clock = clock
        self._looked_at = self._checked_at = clock()
        self._orphans: set[str] = set()  # tags, when they were looked for last
        self._renewing = threading.Lock()
        self._stopping = threading.Event()
        self._warning = ThrottledWarning(logger, "Leases can't be renewed")
        self._thread = threading.Thread(target=self._serve, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def turn(self) -> None:
        """Renew and reap in all queues, and drop what is other workers' by now.

        Raises:
            RedisError: Redis failed; the turn has to be taken again.
        """
        self._looked_at = self._clock()
        looks = [self._look(queue) for queue in list(self._queues)]
        self._drop_lost()
        if self._looked_at - self._checked_at >= self._lease_s:
            self._checked_at = self._looked_at
            self._requeue_orphans()
        # Look less often if other workers look often enough.
        others_look = max(looks) < self.shortest_pause_s
        wanted_s = self.pause_s * (SLOWER if others_look else FASTER)
        self.pause_s = max(self.shortest_pause_s, min(wanted_s, IDLE_LEASES * self._lease_s))

    def is_due(self) -> bool:
        """Whether it is time for the next turn."""
        renewal_s = self._lease_s / RENEWALS_A_LEASE
        pause_s = min(self.pause_s, renewal_s) if len(self._in_flight) else self.pause_s
        return self._clock() - self._looked_at >= pause_s - self.shortest_pause_s / 2

    def holds(self, delivery: Delivery) -> bool:
        """Whether a delivery is still this worker's, and not ended.

        If its lease may have lapsed, by this worker's clock, it is renewed if it still can be; for
        as long as Redis is away this waits.
        """
        while not delivery.ended and self._is_doubtful(delivery.lease):
            try:
                self._renew(delivery.lease)
                self._drop_lost()
            except RedisError as error:
                self._warning.warn(error)
                time.sleep(RETRY_S)
        return not delivery.ended

    def _renew(self, lease: Lease) -> None:
        with self._renewing:
            if not lease.is_lost and self._is_doubtful(lease):  # else another thread was here
                lease.queue.reap(self._lease_s / 2)

    def _is_doubtful(self, lease: Lease) -> bool:
        return lease.is_lost or self._clock() >= lease.ends_at

    def _look(self, queue: RedisQueue) -> float:
        """Renew and reap in one queue; seconds since any worker last looked."""
        look = queue.reap(self._lease_s / 2)
        if look.reclaimed:
            logger.warning(
                "Requeued %d messages of queue %r from a lost worker; %d of them, on which it was "
                "working, now run apart from others.",
                *(look.reclaimed, queue.name, look.suspects),
            )
        if look.is_waiting:
            self._wake()
        return look.since_last_s

    def _drop_lost(self) -> None:
        lost = [each for each in self._in_flight.all() if each.lease.is_lost and not each.ended]
        for delivery in lost:
            self._lost(delivery)
        if lost:
            logger.warning(
                "Dropped %d messages that other workers have now: this worker's lease lapsed while "
                "it stood still or was cut off from Redis.",
                len(lost),
            )

    def _requeue_orphans(self) -> None:
        """Requeue what Redis holds for this worker and nobody works on, in two looks in a row.

        That is what could not be requeued or dead-lettered because Redis failed, or was left over
        by a bug.
        """
        held = {queue.lease: queue.tags(queue.lease) for queue in list(self._queues)}
        known = {delivery.tag for delivery in self._in_flight.all()}
        orphans = set().union(*held.values()) - known
        for lease, tags in held.items():
            if stuck := tags & orphans & self._orphans:
                lease.queue.requeue(lease, list(stuck))
                logger.warning("Requeued %d messages that nobody worked on.", len(stuck))
        self._orphans = orphans

    def _serve(self) -> None:
        wait_s = self.shortest_pause_s
        while not self._stopping.wait(wait_s):
            wait_s = self.shortest_pause_s
            try:
                self._watch()
                if self.is_due():
                    self.turn()
            except RedisError as error:
                self._warning.warn(error)
                self._looked_at = float("-inf")  # look again at once when it is back
                wait_s = min(RETRY_S, wait_s)
            except Exception:  # a bug of ours must not let the leases lapse
                logger.exception("A turn of the heartbeat failed")
