"""How fast a queue grows."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
LEAST_S = 10.0  # a shorter time says little


class Trend:
    """The growth over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, at: float, messages: int) -> float | None:
        """Note a length, and return the growth in messages a second; None until it is known.

        Args:
            at: Unix time in seconds. If the clock was set back, the measurement begins anew.
            messages: Waiting and in flight.
        """
        if self._seen and at < self._seen[-1][0]:
            self._seen.clear()
        self._seen.append((at, messages))
        while at - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return (messages - before) / (at - since) if at - since >= LEAST_S else None
