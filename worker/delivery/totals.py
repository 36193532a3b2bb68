"""How many tasks the batch path has done, for `celery inspect stats`."""

from __future__ import annotations

import threading
from collections import Counter


class Totals:
    """Counts tasks by their name. Threads may share it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, task: str) -> None:
        """Count one more."""
        with self._lock:
            self._counts[task] += 1

    def counts(self) -> dict[str, int]:
        """How many so far, by name."""
        with self._lock:
            return dict(self._counts)
