"""Lets a warning that repeats through a few times a minute, and says how often it was left out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

MOST_A_MINUTE = 5
DEAD_LETTER = "became a dead letter"
WINDOW_S = 60.0


@dataclass
class _Window:
    began_at: float
    passed: int = 0
    left_out: int = 0


class Throttle(logging.Filter):
    """Counts the warnings and errors of each line of code that logs; there are not many.

    What is less, which somebody has asked for by the log level, and what is critical passes.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[tuple[str, int], _Window] = {}  # by file and line
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is among the first of its minute."""
        if not logging.WARNING <= record.levelno < logging.CRITICAL:
            return True
        if DEAD_LETTER in str(record.msg):  # nobody else may learn of that message
            return True
        with self._lock:
            left_out = self._count((record.pathname, record.lineno))
        if left_out is None:
            return False
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out:,} more like this were left out.)"
            record.args = ()
        return True

    def _count(self, place: tuple[str, int]) -> int | None:
        """How many were left out before this one; None if it is left out, too."""
        now = self._clock()
        window = self._windows.setdefault(place, _Window(now))
        left_out = 0
        if now - window.began_at >= WINDOW_S:
            left_out = window.left_out
            window = self._windows[place] = _Window(now)
        if window.passed >= MOST_A_MINUTE:
            window.left_out += 1
            return None
        window.passed += 1
        return left_out
