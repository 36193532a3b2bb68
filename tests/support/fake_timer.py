"""A timer whose time the test moves; what is due is called on the test's own thread."""

from __future__ import annotations

import heapq
import itertools
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeTimer:
    """Stands for `worker.pipeline.timer.Timer`."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.changed = threading.Condition()
        self._number = itertools.count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now_s

    def call_after(self, seconds: float, call: Callable[[], None]) -> None:
        with self.changed:
            heapq.heappush(self._heap, (self.now_s + seconds, next(self._number), call))
            self.changed.notify_all()

    def stop(self) -> None:
        self._heap.clear()

    @property
    def due_in_s(self) -> list[float]:
        """Seconds until each call that waits, the next one first."""
        return [round(due - self.now_s, 6) for due, _, _ in sorted(self._heap)]

    def advance(self, seconds: float) -> None:
        """Let time pass, and call what comes due on the way, each at its time."""
        end = self.now_s + seconds
        while self._heap and self._heap[0][0] <= end:
            due, _, call = heapq.heappop(self._heap)
            self.now_s = max(self.now_s, due)
            call()
        self.now_s = end
