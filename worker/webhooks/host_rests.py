"""Which hosts rest: those that hung several times in a row, and would hold up all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FAILURES = 3  # in a row, after which a host rests
REST_S = 30.0  # then one post tries it
MOST_HOSTS = 1000  # that are remembered


@dataclass
class _Rest:
    failures: int = 0
    ends_at: float = 0.0


class HostRests:
    """Keeps posts away from hosts that hang. Threads may share it.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hosts: dict[str, _Rest] = {}
        self._lock = threading.Lock()

    def ask(self, host: str) -> float:
        """Seconds that a post has to wait; 0 if it may be made now.

        When a rest is over one post may be made, and the rest begins anew until it was.
        """
        with self._lock:
            rest = self._hosts.get(host)
            if rest is None or rest.failures < FAILURES:
                return 0.0
            now = self._clock()
            if rest.ends_at > now:
                return rest.ends_at - now
            rest.ends_at = now + REST_S
            return 0.0

    def answered(self, host: str) -> None:
        """Note that a host answered, or failed without delay."""
        with self._lock:
            self._hosts.pop(host, None)

    def hung(self, host: str) -> None:
        """Note that a host held up a thread until a time-out."""
        with self._lock:
            if len(self._hosts) >= MOST_HOSTS:
                self._hosts.clear()
            rest = self._hosts.setdefault(host, _Rest())
            rest.failures += 1
            rest.ends_at = self._clock() + REST_S
