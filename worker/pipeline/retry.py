"""When a picture that could not be fetched for now is tried again, and when no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worker.errors import TemporaryError

Random = Callable[[], float]  # evenly in [0, 1)


@dataclass(frozen=True)
class Next:
    """What to do after a failed attempt.

    Attributes:
        pause_s: Seconds until the next attempt.
        given_up: Why there is none, as a sentence; empty where there is one.
    """

    pause_s: float = 0.0
    given_up: str = ""


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter and a bound.

    After the n-th failure the pause is drawn evenly from 0 to `base_s * factor ** (n - 1)`, at
    most `longest_s`: callers that failed together come back apart. What a server asks for with
    Retry-After (RFC 9110, 10.2.3) is the least, and the draw comes on top of it.

    Attributes:
        attempts: In all, the first one included.
        base_s: Longest first pause, in seconds.
        factor: By which the longest pause grows with each failure.
        longest_s: Where it stops growing, in seconds.
        total_s: No attempt starts later than this many seconds after the first one did.
    """

    attempts: int = 5
    base_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 20.0
    total_s: float = 120.0

    def after(
        self, error: TemporaryError, *, tried: int, trying_s: float, left_s: float, random: Random
    ) -> Next:
        """Decide what follows an attempt that failed.

        Args:
            error: What it failed with.
            tried: Attempts made.
            trying_s: Seconds since the first one began.
            left_s: Seconds until the job's bound or its deadline, whichever is first.
            random: Draws the jitter.
        """
        asked_s = error.retry_after_s or 0.0
        if tried >= self.attempts:
            return Next(given_up=f"{so_far(tried, trying_s).capitalize()}.")
        if asked_s >= left_s:
            reason = self._too_late(asked_s)
            return Next(given_up=f"{so_far(tried, trying_s).capitalize()}; {reason}.")
        longest_s = min(self.longest_s, self.base_s * self.factor ** (tried - 1))
        # The jitter may shrink to end in time; the wait that the server asked for may not.
        return Next(pause_s=asked_s + random() * min(longest_s, left_s - asked_s))

    def _too_late(self, asked_s: float) -> str:
        if asked_s:
            return (
                f"the server asks to wait {asked_s:.0f} s, longer than the task's deadline or this "
                f"worker (CLIP_WORKER_RETRY_TOTAL_S={self.total_s:g}) allow"
            )
        return "no time is left for another attempt"


def with_reason(error: TemporaryError, reason: str) -> TemporaryError:
    """The error that a caller gets: of the same class and code, with the reason in its sentence."""
    told = type(error)(f"{error.message} {reason}", error.code)
    told.retry_after_s = error.retry_after_s
    told.__cause__ = error
    return told


def so_far(tried: int, trying_s: float) -> str:
    """Say how much was tried: `it was tried 3 times in 4.2 s`."""
    if tried == 0:
        return f"it waited {trying_s:.1f} s and was not tried"
    return f"it was tried {'once' if tried == 1 else f'{tried} times'} in {trying_s:.1f} s"
