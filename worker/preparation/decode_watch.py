"""Whether a process takes too long over a picture, by its processor time and not by the clock.

A machine that is busy, or stood still, thus blames nobody. The clock counts too, but in steps of
bounded length and for far longer, for a decoder that waits for ever.
"""

from __future__ import annotations

from enum import Enum

from worker.preparation.handle import ProcessHandle
from worker.preparation.settings import PreparationSettings

TICK_S = 0.25
SLOW_S = 0.4  # after which the other pictures of the process go elsewhere
STOPPED = ("T", "t")  # by a signal, by a debugger


class Verdict(Enum):
    """How it is with a process."""

    FINE = "it works"
    SLOW = "it has been decoding one picture for a while"
    TOO_EXPENSIVE = "a picture took it too long"
    STUCK = "it made no progress"
    STOPPED = "it was stopped by a signal"  # which is no picture's fault


class DecodeWatch:
    """Looks at one process, tick by tick.

    Args:
        settings: Of these, how long a fetch and a decode may take.
    """

    def __init__(self, settings: PreparationSettings) -> None:
        self._cpu_s = self._stopped_s = settings.decode_cpu_s
        self._wall_s = settings.decode_wall_s
        self._fetch_s = settings.limits.total_s
        self._seen: tuple[int, int] = (0, 0)
        self._cpu_before_s = 0.0
        self._lasted_s = 0.0
        self._stopped_for_s = 0.0

    def look(self, process: ProcessHandle, ticket: int, elapsed_s: float) -> Verdict:
        """Judge a process that has pictures in hand.

        Args:
            process: To look at.
            ticket: What it is decoding, or 0.
            elapsed_s: Since the last look, or less if that is long ago.
        """
        state, cpu_s = process.state()
        self._stopped_for_s = self._stopped_for_s + elapsed_s if state in STOPPED else 0.0
        if self._stopped_for_s >= self._stopped_s:
            return Verdict.STOPPED
        seen = (ticket, process.pictures)
        if seen != self._seen:
            self._seen, self._cpu_before_s, self._lasted_s = seen, cpu_s, 0.0
            return Verdict.FINE
        self._lasted_s += elapsed_s
        if ticket and cpu_s - self._cpu_before_s >= self._cpu_s:
            return Verdict.TOO_EXPENSIVE
        if self._lasted_s >= (self._wall_s if ticket else self._wall_s + self._fetch_s):
            return Verdict.STUCK
        return Verdict.SLOW if self._lasted_s >= SLOW_S and ticket else Verdict.FINE
