"""When an image task that failed for now is tried again, and when it is given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clip_worker.errors import TemporaryError
from worker.pipeline.image_task import ImageTask, last_deadline, sharers

if TYPE_CHECKING:
    from worker.pipeline.timer import Timer

Random = Callable[[], float]  # evenly in [0, 1)
Attempt = Callable[[Sequence[ImageTask]], object]


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

    def pause_s(
        self, error: TemporaryError, *, tried: int, trying_s: float, left_s: float, random: Random
    ) -> float:
        """Seconds until the next attempt.

        Args:
            error: What the last attempt failed with.
            tried: Attempts made.
            trying_s: Seconds since the first one began.
            left_s: Seconds until the bound on all attempts or the deadline, whichever is first.
            random: Draws the jitter.

        Raises:
            TemporaryError: There is none: the last error's class and code, with the reason.
        """
        asked_s = error.retry_after_s or 0.0
        if tried >= self.attempts:
            raise _given_up(error, f"{so_far(tried, trying_s).capitalize()}.")
        if asked_s >= left_s:
            reason = f"{so_far(tried, trying_s).capitalize()}; {self._too_late(asked_s)}."
            raise _given_up(error, reason)
        longest_s = min(self.longest_s, self.base_s * self.factor ** (tried - 1))
        # The jitter may shrink to end in time; the wait that the server asked for may not.
        return asked_s + random() * min(longest_s, left_s - asked_s)

    def _too_late(self, asked_s: float) -> str:
        if asked_s:
            return (
                f"the server asks to wait {asked_s:.0f} s, longer than the task's deadline or this "
                f"worker (CLIP_WORKER_RETRY_TOTAL_S={self.total_s:g}) allow"
            )
        return "no time is left for another attempt"


class Retries:
    """Tries image tasks again after a pause, or fails them. Threads may share it.

    Args:
        policy: When the next attempt is made.
        timer: Ends the pauses.
        failed: Takes a task that is given up, with all that share its image, and why.
        retried: Called with the code of what an attempt failed with, if there is another one.
        now: Unix time in seconds.
        draw: Draws the jitter.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        policy: RetryPolicy,
        timer: Timer,
        *,
        failed: Callable[[ImageTask, BaseException], None],
        retried: Callable[[str], object] = lambda _code: None,
        now: Callable[[], float],
        draw: Random,
    ) -> None:
        self._policy = policy
        self._timer = timer
        self._failed = failed
        self._retried = retried
        self._now = now
        self._draw = draw
        self._pausing: dict[int, ImageTask] = {}  # by key

    @property
    def pausing(self) -> int:
        """Tasks that wait for their next attempt."""
        return sum(len(sharers(task)) for task in list(self._pausing.values()))

    def retry_or_fail(self, task: ImageTask, error: BaseException, attempt: Attempt) -> None:
        """Have a task tried again after a pause, if that makes sense and there is time.

        Args:
            task: Whose attempt failed.
            error: What it failed with.
            attempt: Makes the next attempt; it drops a task that has ended meanwhile.
        """
        if not isinstance(error, TemporaryError):
            self._failed(task, error)
            return
        try:
            pause_s = self._policy.pause_s(
                error,
                tried=task.attempts,
                trying_s=self.trying_s(task),
                left_s=self.gives_up_at(task) - self._timer.clock(),
                random=self._draw,
            )
        except TemporaryError as given_up:
            self._failed(task, given_up)
            return
        self._retried(error.code)
        self._pausing[task.key] = task
        self._timer.call_after(pause_s, lambda: self._resume(task, attempt))

    def gives_up_at(self, task: ImageTask) -> float:
        """When the bound on all attempts or the deadline ends a delayed task (monotonic)."""
        clock = self._timer.clock()
        task.was_delayed = True
        task.since_s = clock if task.since_s is None else task.since_s
        ends_s = task.since_s + self._policy.total_s
        deadline = last_deadline(task)
        return ends_s if deadline is None else min(ends_s, clock + deadline - self._now())

    def trying_s(self, task: ImageTask) -> float:
        """Seconds since the first attempt."""
        return 0.0 if task.since_s is None else self._timer.clock() - task.since_s

    def _resume(self, task: ImageTask, attempt: Attempt) -> None:
        self._pausing.pop(task.key, None)
        attempt([task])


def so_far(tried: int, trying_s: float) -> str:
    """Say how much was tried: `it was tried 3 times in 4.2 s`."""
    if tried == 0:
        return f"it waited {trying_s:.1f} s and was not tried"
    return f"it was tried {'once' if tried == 1 else f'{tried} times'} in {trying_s:.1f} s"


def _given_up(error: TemporaryError, reason: str) -> TemporaryError:
    given_up = type(error)(f"{error.message} {reason}", error.code)
    given_up.retry_after_s = error.retry_after_s
    given_up.__cause__ = error
    return given_up
