"""Whether a process takes too long over an image, by its processor time and not by the clock.

So a machine that is busy, or was suspended, fails no image. The clock counts too, but in steps of
bounded length and for far longer, for a decoder that waits for ever.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from worker.preparation.settings import PreparationSettings

TICK_S = 0.25
_SLOW_S = 0.4
_STOPPED = ("T", "t")  # by a signal, by a debugger
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")  # a second, of processor time


class Verdict(Enum):
    """The state of a process."""

    FINE = "it works"
    SLOW = "it has been decoding one image for a while"  # the others should go elsewhere
    TOO_EXPENSIVE = "an image took it too long"
    STUCK = "it made no progress"
    STOPPED = "it was stopped by a signal"  # which is no image's fault


class DecodeWatch:
    """Looks at one process, tick by tick.

    Args:
        settings: Of these, how long a fetch and a decode may take.
    """

    def __init__(self, settings: PreparationSettings) -> None:
        self._settings = settings
        self._seen = (-1, 0)
        self._cpu_before_s = self._lasted_s = self._stopped_for_s = 0.0

    def look(self, pid: int, decoding: int, prepared: int, elapsed_s: float) -> Verdict:
        """Judge a process that has images.

        Args:
            pid: Its process id.
            decoding: The slot that it decodes into, or -1.
            prepared: How many images it has prepared.
            elapsed_s: Since the last look, or less if that is long ago.
        """
        state, cpu_s = _state(pid)
        self._stopped_for_s = self._stopped_for_s + elapsed_s if state in _STOPPED else 0.0
        if self._stopped_for_s >= self._settings.decode_cpu_s:
            return Verdict.STOPPED
        if self._seen != (decoding, prepared):
            self._seen, self._cpu_before_s, self._lasted_s = (decoding, prepared), cpu_s, 0.0
            return Verdict.FINE
        self._lasted_s += elapsed_s
        is_decoding, most_s = decoding >= 0, self._settings.decode_wall_s
        if is_decoding and cpu_s - self._cpu_before_s >= self._settings.decode_cpu_s:
            return Verdict.TOO_EXPENSIVE
        if self._lasted_s >= most_s + (0 if is_decoding else self._settings.limits.total_s):
            return Verdict.STUCK
        return Verdict.SLOW if is_decoding and self._lasted_s >= _SLOW_S else Verdict.FINE


def _state(pid: int) -> tuple[str, float]:
    """What Linux says of a process's main thread; ("", 0.0) where it says nothing.

    Returns:
        The letter of its state (`R`, `S`, `T` …), and the processor time that it has used.
    """
    try:
        text = Path(f"/proc/{pid}/task/{pid}/stat").read_text()
    except OSError:
        return "", 0.0
    fields = text.rpartition(")")[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
