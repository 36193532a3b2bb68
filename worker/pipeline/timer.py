"""One thread that calls functions at their times, so that what waits occupies no thread."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

Call = Callable[[], None]


class Timer:
    """Calls functions later, in the order of their times. Threads may share it.

    Its thread starts with the first call that is asked for.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, Call]] = []
        self._number = itertools.count()  # what is due at the same time is called in turn
        self._changed = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def call_after(self, seconds: float, call: Call) -> None:
        """Have a function called on the timer's thread; it should return at once.

        Once the timer has been stopped it is never called.

        Raises:
            RuntimeError: The thread can't be started; the function is never called.
        """
        due = (self.clock() + seconds, next(self._number), call)
        with self._changed:
            if self._stopped:
                return
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="timer", daemon=True)
                thread.start()  # without memory to spare it fails; the next call tries again
                self._thread = thread
            heapq.heappush(self._heap, due)
            if self._heap[0] is due:  # else the thread wakes early enough
                self._changed.notify()

    def stop(self) -> None:
        """End the thread; what is not due is never called."""
        with self._changed:
            self._stopped = True
            self._heap.clear()
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _serve(self) -> None:
        while call := self._take():
            try:
                call()
            except Exception:
                logger.exception("A timed call failed")

    def _take(self) -> Call | None:
        """The next call, as long as that takes; None once the timer is stopped."""
        with self._changed:
            while not self._stopped:
                rest_s = self._heap[0][0] - self.clock() if self._heap else None
                if rest_s is not None and rest_s <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(rest_s)
        return None
