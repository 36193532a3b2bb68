"""A sign of life of a loop: when it last began a turn."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pulse:
    """When a loop last began a turn. The loop's thread calls `beat`; any thread may read `age_s`.

    Args:
        name: Of the loop, as the subject of a sentence.
        clock: Seconds, monotonic.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._at: float | None = None

    def beat(self) -> None:
        """Note that a turn begins."""
        self._at = self._clock()

    @property
    def age_s(self) -> float:
        """Seconds since the last turn began; 0 before the first."""
        return 0.0 if self._at is None else self._clock() - self._at
