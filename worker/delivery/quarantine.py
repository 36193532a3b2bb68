"""What may be in the making together, so that one bad message is found and no good one is punished.

A message in the making when its worker died is a suspect. After one crash it runs with a few other
suspects and nothing else, after two or more it runs alone. Only one that was alone can be
condemned. Making means what may kill the process: decoding and the forward pass. Waiting and
fetching don't count.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from redis.exceptions import RedisError

from worker.delivery.throttled_warning import ThrottledWarning
from worker.delivery.unacked_entry import TOGETHER_UNKNOWN, Crash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.in_flight import Delivery

logger = logging.getLogger(__name__)

_Waiting: TypeAlias = "tuple[Delivery, Callable[[], None], Callable[[], None]]"

GROUP = 8  # suspects of one crash that run together
RETRY_S = 0.25  # after Redis failed


def is_condemned(crashes: Sequence[Crash], max_deliveries: int) -> bool:
    """Whether a message with this history is not to be tried again.

    Args:
        crashes: Newest first.
        max_deliveries: After so many crashes, if it was alone in the last.
    """
    return len(crashes) >= max_deliveries and crashes[0].together == 1


class Quarantine:
    """Lets deliveries into the making, and notes that in Redis first. Has one thread.

    Args:
        most: Deliveries without a history that may be in the making at a time. After as many
            suspects these have their turn, where both wait.
        worker: This worker's name, for the histories.
        pause: Sleeps for so many seconds.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        *,
        most: int,
        worker: str,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._most = most
        self._worker = worker
        self._pause = pause
        self._now = now
        self._crowd: deque[_Waiting] = deque()
        self._suspects: deque[_Waiting] = deque()
        self._making: set[Delivery] = set()
        self._apart = False  # whether those in the making are suspects
        self._suspects_in_turn = 0  # let in since the crowd had its turn
        self._stopping = False
        self._warning = ThrottledWarning(logger, "Nothing can be begun")
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="isolation", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let nobody in any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def enter(self, delivery: Delivery, go: Callable[[], None], lost: Callable[[], None]) -> None:
        """Call `go` when the making may begin, or `lost` if the message is no longer ours.

        What belongs to a delivery that is in the making already goes at once. One that finds nobody
        else there is let in by the caller's own thread, so that alone it waits for no other.
        """
        with self._changed:
            is_in = delivery in self._making
            is_alone = not (is_in or delivery.crashes or self._stopping or self._is_somebody_here())
            if is_alone:
                self._apart, self._suspects_in_turn = False, 0
                self._count_in({delivery})
            elif not is_in:
                (self._suspects if delivery.crashes else self._crowd).append((delivery, go, lost))
                self._changed.notify()
        if is_in:
            go()
        elif is_alone:
            self._begin_alone(delivery, go, lost)

    def _is_somebody_here(self) -> bool:
        return bool(self._making or self._crowd or self._suspects)

    def leave(self, deliveries: Sequence[Delivery]) -> None:
        """These have ended, and Redis knows."""
        with self._changed:
            self._making.difference_update(deliveries)
            self._changed.notify()

    def _serve(self) -> None:
        while batch := self._next():
            self._begin(batch)

    def _next(self) -> list[_Waiting]:
        with self._changed:
            while not self._stopping:
                if batch := self._admissible():
                    return batch
                self._changed.wait()
            return []

    def _admissible(self) -> list[_Waiting]:
        """Who may go in now; they are counted as in the making."""
        is_crowds_turn = self._crowd and self._suspects_in_turn >= self._most
        if self._suspects and not is_crowds_turn:
            return self._let_in_suspects() if not self._making else []
        if self._apart and self._making:
            return []
        room = self._most - len(self._making)
        batch = [self._crowd.popleft() for _ in range(min(room, len(self._crowd)))]
        if batch:
            self._apart, self._suspects_in_turn = False, 0
            self._count_in({delivery for delivery, _, _ in batch})
        return batch

    def _let_in_suspects(self) -> list[_Waiting]:
        first = self._suspects[0][0]
        alone = len(first.crashes) > 1
        batch = []
        deliveries: set[Delivery] = set()
        for waiting in list(self._suspects):
            delivery = waiting[0]
            fits = delivery is first or (not alone and len(delivery.crashes) == 1)
            if fits and (delivery in deliveries or len(deliveries) < GROUP):
                deliveries.add(delivery)
                batch.append(waiting)
                self._suspects.remove(waiting)
        self._apart = True
        self._suspects_in_turn += len(deliveries)
        self._count_in(deliveries)
        return batch

    def _count_in(self, deliveries: set[Delivery]) -> None:
        # One that has ended meanwhile (it took too long) would never leave.
        self._making.update(delivery for delivery in deliveries if not delivery.ended)

    def _begin_alone(
        self, delivery: Delivery, go: Callable[[], None], lost: Callable[[], None]
    ) -> None:
        try:
            held = self._note([] if delivery.ended else [delivery], TOGETHER_UNKNOWN)
        except RedisError:  # the isolation's own thread has the patience
            with self._changed:
                self._making.discard(delivery)
                self._crowd.append((delivery, go, lost))
                self._changed.notify()
        else:
            delivery.begun = True
            (go if delivery in held else lost)()

    def _begin(self, batch: Sequence[_Waiting]) -> None:
        deliveries = list({delivery: None for delivery, _, _ in batch if not delivery.ended})
        together = len(deliveries) if self._apart else TOGETHER_UNKNOWN
        held = self._insist(lambda: self._note(deliveries, together))
        for delivery, go, lost in batch:
            delivery.begun = True
            try:
                (go if delivery in held else lost)()
            except Exception:  # a bug of ours must not keep all others out
                logger.exception("Task %s can't be begun", delivery.id)

    def _note(self, deliveries: Sequence[Delivery], together: int) -> set[Delivery]:
        """Write into Redis who is in the making; those whose message is still ours."""
        crash = Crash(self._now(), together, self._worker)
        held: set[Delivery] = set()
        for lease in {delivery.lease: None for delivery in deliveries}:
            ours = [delivery for delivery in deliveries if delivery.lease is lease]
            pairs = [(delivery, tag) for delivery in ours for tag in delivery.tags]
            flags = lease.queue.start(lease, [tag for _, tag in pairs], crash)
            held.update(delivery for (delivery, _), flag in zip(pairs, flags, strict=True) if flag)
        return held

    def _insist(self, note: Callable[[], set[Delivery]]) -> set[Delivery]:
        while True:
            try:
                return note()
            except RedisError as error:
                self._warning.warn(error)
                self._pause(RETRY_S)
