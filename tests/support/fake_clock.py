"""A clock that moves only when a test moves it, or code under test sleeps."""

from __future__ import annotations

from collections.abc import Callable


class FakeClock:
    """Monotonic seconds.

    Args:
        then: Called after each sleep.
    """

    def __init__(self, now_s: float = 0.0, then: Callable[[], object] = lambda: None) -> None:
        self.now_s = now_s
        self._then = then

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self._then()
