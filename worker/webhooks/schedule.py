"""When the next attempt to post to a webhook is made, and when it is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Random = Callable[[], float]  # evenly in [0, 1)


@dataclass(frozen=True)
class RetrySchedule:
    """Exponential backoff with jitter, bounded by a number of attempts and by time.

    The n-th pause is `first_s * factor ** (n - 1)`, a quarter of it more or less at random, and
    longer if the server asks for it with Retry-After, up to `most_asked_s`. With the defaults that
    is 12 attempts within about 15 hours.

    Attributes:
        attempts: In all, the first one included.
        first_s: The first pause, in seconds.
        factor: By which each pause is longer than the last one.
        most_asked_s: Longest pause that a server may ask for, in seconds.
        total_s: No attempt starts later than this many seconds after the first one did.
    """

    attempts: int = 12
    first_s: float = 5.0
    factor: float = 2.4
    most_asked_s: float = 3600.0
    total_s: float = 86_400.0

    def pause_s(
        self, *, tried: int, trying_s: float, asked_s: float | None, draw: Random
    ) -> float | None:
        """Seconds until the next attempt; None if there is none.

        Args:
            tried: Attempts made.
            trying_s: Seconds since the first one began.
            asked_s: Seconds that the server asked to wait, if it did.
            draw: Draws the jitter.
        """
        usual_s = self.first_s * self.factor ** (tried - 1) * (0.75 + draw() / 2)
        pause_s = max(usual_s, min(asked_s or 0.0, self.most_asked_s))
        is_over = tried >= self.attempts or trying_s + pause_s > self.total_s
        return None if is_over else pause_s
