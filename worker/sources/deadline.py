"""The deadline of a fetch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time on a monotonic clock.

    Attributes:
        ends_at_s: The time, in seconds.
        clock: Monotonic seconds.
    """

    ends_at_s: float
    clock: Clock

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> Self:
        """The deadline `seconds` from now."""
        return cls(clock() + seconds, clock)

    def remaining_s(self) -> float:
        """Seconds left, more than 0.

        Raises:
            TimeoutError: The deadline has passed.
        """
        left = self.ends_at_s - self.clock()
        if left <= 0:
            raise TimeoutError("the fetch ran out of time")
        return left
