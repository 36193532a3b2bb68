"""Rates and averages over the last seconds, from totals that are looked at now and then."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

RATE_S = 10.0
AVERAGE_S = 60.0
WEIGHT = 0.2  # of the newest rate in the usual one


class Totals(NamedTuple):
    """What was counted from the start to one moment.

    Attributes:
        at_s: The moment (monotonic).
        images: Images that ended.
        batches: Forward passes.
        batch_images: Images in all of these.
        messages: Messages that were taken.
        message_images: Images in all of these.
        round_trips: To Redis.
        round_trips_s: Seconds of all of these.
        is_busy: Whether there is enough to do.
    """

    at_s: float
    images: int = 0
    batches: int = 0
    batch_images: float = 0.0
    messages: int = 0
    message_images: int = 0
    round_trips: int = 0
    round_trips_s: float = 0.0
    is_busy: bool = False


class Recent:
    """What a worker does now. One thread at a time may use it.

    Attributes:
        usual_images_per_s: An average of the rates between two looks at both of which there was
            enough to do: then the worker was no faster for want of work. None until measured.
        images_per_message: Over the last minute in which messages were taken; None until then.
    """

    def __init__(self) -> None:
        self.usual_images_per_s: float | None = None
        self.images_per_message: float | None = None
        self._looks: deque[Totals] = deque()

    def look(self, now: Totals) -> None:
        """Take the totals as they stand; again and again, in the order of time."""
        last = self._looks[-1] if self._looks else None
        if last and last.is_busy and now.is_busy and now.at_s > last.at_s:
            rate = (now.images - last.images) / (now.at_s - last.at_s)
            usual = rate if self.usual_images_per_s is None else self.usual_images_per_s
            self.usual_images_per_s = usual + WEIGHT * (rate - usual)
        self._looks.append(now)
        while len(self._looks) > 2 and self._looks[1].at_s <= now.at_s - AVERAGE_S:
            self._looks.popleft()
        first = self._looks[0]
        if messages := now.messages - first.messages:
            self.images_per_message = (now.message_images - first.message_images) / messages

    @property
    def images_per_s(self) -> float:
        """Images that ended a second."""
        if len(self._looks) < 2:
            return 0.0
        now, since = self._looks[-1], self._looks[-1].at_s - RATE_S
        first = next(look for look in self._looks if look.at_s >= since or look is now)
        if first is now:  # the looks lie further apart
            first = self._looks[-2]
        return (now.images - first.images) / (now.at_s - first.at_s)

    @property
    def batch_images(self) -> float | None:
        """Images in an average batch; None without a batch."""
        first, now = self._looks[0], self._looks[-1]
        batches = now.batches - first.batches
        return (now.batch_images - first.batch_images) / batches if batches else None

    @property
    def round_trip_s(self) -> float | None:
        """Average round trip to Redis; None without one."""
        first, now = self._looks[0], self._looks[-1]
        count = now.round_trips - first.round_trips
        return (now.round_trips_s - first.round_trips_s) / count if count else None
