"""Polls the queues: takes as many messages as there is room for, and hands them on."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError

from worker.delivery.arrivals import wait_for_any
from worker.delivery.throttled_warning import ThrottledWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.delivery import Delivery
    from worker.delivery.in_flight import InFlight
    from worker.delivery.redis_queue import RedisQueue

logger = logging.getLogger(__name__)

MOST_SUSPECTS = 64  # in flight at a time; other workers shall have some too
ROOM_S = 0.1  # longest wait for room
WAIT_S = 0.5  # longest wait for messages or after a failure, before a look at whether to stop
NEVER = (-1, 0)


class Poller:
    """One thread that takes messages from the queues.

    Queues share the room evenly, whatever their order; one leaves to the others what it can't fill.
    An idle poller costs Redis nothing: it waits there until a message comes, or `wake` is called.

    Args:
        queues: To begin with.
        in_flight: All deliveries of this process.
        room: How many more there is room for.
        receive: Takes what was taken from a queue.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        queues: Sequence[RedisQueue],
        in_flight: InFlight,
        *,
        room: Callable[[], int],
        receive: Callable[[Sequence[Delivery]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queues = list(queues)
        self._in_flight = in_flight
        self._room = room
        self._receive = receive
        self._clock = clock
        self._was_all = False  # what the last turn found
        self._turns = itertools.count()
        # When a queue last gave something, and how much: who had least has the first share.
        self._served: dict[RedisQueue, tuple[int, int]] = {}
        self._waiting: list[RedisQueue] = []  # for which messages were waited for
        self._yields_until = clock()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._warning = ThrottledWarning(logger, "No tasks can be taken")
        self._refused = ThrottledWarning(logger, "Tasks are looked for twice a second")
        self._thread = threading.Thread(target=self._serve, name="poller", daemon=True)

    def add(self, queue: RedisQueue) -> None:
        """Take from one more queue."""
        if queue not in self.queues:
            self.queues.append(queue)

    def remove(self, name: str) -> None:
        """Take no more from a queue."""
        self.queues = [queue for queue in self.queues if queue.name != name]

    def give_way(self, seconds: float) -> None:
        """Wait for no message in Redis for so long, but look twice a second.

        Who waits longest in Redis gets what comes. Other workers of the queue wait for a second at
        a time, as kombu does, so what was put back for them would always come back here.
        """
        self._yields_until = self._clock() + seconds

    def wake(self) -> None:
        """Look for messages that no waiting poller is woken for."""
        self._woken.set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Take no more; after this nothing new comes."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def turn(self) -> None:
        """Take what there is room for, or wait for room or for messages.

        Raises:
            RedisError: Redis failed; nothing is lost, take another turn.
        """
        room = self._room()
        if room <= 0 and (self._in_flight.suspects or not self._woken.is_set()):
            if not self._in_flight.wait_for_change(ROOM_S):
                self._stop_waiting()  # idle workers shall have what comes
            return
        if room > 0 and self._was_all:
            if not self._wait():
                return
            room = self._room()
        if not self._stopping.is_set():
            self._woken.clear()
            taken = self._take(room)
            # Less than there is room for: that was all, but for suspects.
            self._was_all = taken < room and not (taken and self._in_flight.suspects)

    def _wait(self) -> bool:
        """Wait for a message, in any queue and of any priority; whether to look for some now."""
        if self._clock() < self._yields_until:
            self._stop_waiting()
            self._stopping.wait(WAIT_S)
            return True
        queues = list(self.queues)
        for queue in self._waiting:
            if queue not in queues:
                queue.stop_waiting()
        self._waiting = queues
        try:
            waits = [wait for queue in queues for wait in queue.waits]
            return wait_for_any(waits, WAIT_S) or self._woken.is_set()
        except ResponseError as error:  # as where memory is full, and so no message comes
            self._refused.warn(error)
            self._stopping.wait(WAIT_S)
            return True

    def _take(self, room: int) -> int:
        """Take from each queue its share of the room, and what one leaves from those with more."""
        taken: Counter[RedisQueue] = Counter()
        asked = sorted(self.queues, key=lambda each: self._served.get(each, NEVER))
        while asked:
            have_more = []
            for i, queue in enumerate(asked):
                share = math.ceil((room - taken.total()) / (len(asked) - i))
                count = self._take_from(queue, share)
                taken[queue] += count
                if count >= share > 0:
                    have_more.append(queue)
            asked = have_more if taken.total() < room else []
        turn = next(self._turns)
        self._served.update({each: (turn, count) for each, count in taken.items() if count})
        return taken.total()

    def _take_from(self, queue: RedisQueue, most: int) -> int:
        if not len(self._in_flight):
            queue.leave_lapsed()  # saves asking Redis
        taken = queue.take(most, max(0, MOST_SUSPECTS - self._in_flight.suspects))
        if taken:
            self._receive(taken)
        return len(taken)

    def _stop_waiting(self) -> None:
        for queue in self._waiting:
            queue.stop_waiting()
        self._waiting = []

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except RedisError as error:
                self._warning.warn(error)
                self._stop_waiting()
                self._stopping.wait(WAIT_S)
            except Exception:  # a bug of ours; the heartbeat requeues what was taken
                logger.exception("Can't route the messages that were taken")
                self._stopping.wait(WAIT_S)
        self._stop_waiting()
