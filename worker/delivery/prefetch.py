"""How much a worker holds: as much as it will need soon, by its measured rate.

By Little's law a worker that ends λ images a second, each of which takes W seconds until the
model may have it, needs λ·W in flight to keep the model busy. On top come `ahead_s` seconds of
work, so that batches fill and Redis may pause. A slow worker thus leaves the queue to others.
A message may be about several images, and how many is not known before it is taken: what was
taken beyond the window goes back (`split`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.delivery.delivery import Delivery

PERIOD_S = 0.25  # between two looks at the rate
WEIGHT = 0.3  # of the newest rate in the average


class Prefetch:
    """The window of images in flight. Used by one thread, but for `finished`.

    Args:
        floor: Least window.
        ceiling: Greatest window.
        initial: Window until the first measurement.
        batch: Most images for which there must be room before more are taken.
        ahead_s: Work to have in flight beyond what preparation needs, in seconds.
        clock: Seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913  # each is a number, by name
        self,
        *,
        floor: int,
        ceiling: int,
        initial: int,
        batch: int,
        ahead_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._floor = min(floor, ceiling)
        self._ceiling = ceiling
        self._batch = batch
        self._ahead_s = ahead_s
        self._clock = clock
        self._finished = 0
        self._seen = 0
        self._since = clock()
        self._was_full = False
        self._rate: float | None = None
        self._window = max(self._floor, min(initial, ceiling))

    @property
    def size(self) -> int:
        """The window, as `window` gave it last."""
        return self._window

    @property
    def step(self) -> int:
        """Images for which there must be room before more are taken.

        One by one would be slow; but while a worker takes none, tenants wait for their turn. A
        window has two seconds of work or more, so this is at most some eighth of a second's.
        """
        return max(1, min(self._batch, self._window // 16))

    def finished(self, count: int) -> None:
        """Count images that ended; one that is lost between two threads does no harm."""
        self._finished += count

    def window(self, held: int, preparation_s: float) -> int:
        """How many images may be in flight now.

        Args:
            held: How many are.
            preparation_s: How long one takes until the model may have it.
        """
        self._was_full = self._was_full or held >= self._window
        elapsed_s = self._clock() - self._since
        if elapsed_s >= PERIOD_S:
            self._measure(elapsed_s)
            self._window = self._wanted(preparation_s)
        return self._window

    def _measure(self, elapsed_s: float) -> None:
        count, self._seen = self._finished - self._seen, self._finished
        self._since += elapsed_s
        full, self._was_full = self._was_full, False
        rate = count / elapsed_s
        if self._rate is None:
            self._rate = rate if full else None
        elif full:
            self._rate += WEIGHT * (rate - self._rate)
        else:  # there was no more work, so it can do this at least
            self._rate = max(self._rate, rate)

    def _wanted(self, preparation_s: float) -> int:
        if self._rate is None:
            return self._window
        wanted = math.ceil(self._rate * (preparation_s + self._ahead_s))
        return max(self._floor, min(wanted, self._ceiling))


def split(
    deliveries: Sequence[Delivery], room: int, room_for_suspects: int
) -> tuple[list[Delivery], list[Delivery]]:
    """Part what is kept of what was taken from what goes back, both in their order.

    The last that is kept may be larger than what is left of the room, or a large one could never be
    taken. What waits for an ETA needs no room.

    Args:
        deliveries: In the order in which they were taken.
        room: For so many units of work.
        room_for_suspects: For those that have been through a crash, besides.
    """
    left = {False: room, True: room_for_suspects}
    kept, rest = [], []
    for delivery in deliveries:
        is_suspect = bool(delivery.crashes)
        if delivery.waits_for_eta:
            kept.append(delivery)
        elif left[is_suspect] > 0:
            kept.append(delivery)
            left[is_suspect] -= delivery.size
        else:
            rest.append(delivery)
    return kept, rest
