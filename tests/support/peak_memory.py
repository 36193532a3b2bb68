"""How much memory processes take, from /proc: now, and at most since a moment."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

needs_peaks = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="this system tells no peak of memory"
)


class Peak:
    """How far the memory of a process grows from now on at most, and that of its children.

    The pixels that they share count once for each, and one that ended meanwhile not at all.
    """

    def __init__(self, pid: int) -> None:
        process = psutil.Process(pid)
        self._before = {
            each.pid: read_bytes(each.pid, "VmRSS")
            for each in (process, *process.children(recursive=True))
        }
        self._pid = pid
        for each in self._before:
            with suppress(OSError):  # it has just ended
                Path(f"/proc/{each}/clear_refs").write_text("5")  # the peak counts anew

    def growth_bytes(self) -> int:
        """Of all of them together."""
        return sum(map(self._growth, self._before))

    def own_growth_bytes(self) -> int:
        """Of the process itself."""
        return self._growth(self._pid)

    def _growth(self, pid: int) -> int:
        return max(0, read_bytes(pid, "VmHWM") - self._before[pid])


def read_bytes(pid: int, name: str) -> int:
    """A size in /proc/PID/status; 0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # not there, or gone between opening and reading
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
