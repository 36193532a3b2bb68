"""Tags many images and shows how fast, while it goes on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from clip_worker.client.handle import Handle, as_completed
from clip_worker.contract import Classification
from clip_worker.errors import ResultTimeoutError, TemporaryError

RESULT_LIMIT_S = 60.0  # without any result
LATELY_S = 1.0
PLAIN_STEPS = 4  # lines where the output is not a terminal
_CHECK_S = 0.5

Handles = Sequence[Handle[Classification]]


def ended(handles: Handles, check: Callable[[], None]) -> Iterator[Handle[Classification]]:
    """Yield tasks as they end.

    Args:
        handles: The tasks.
        check: Called now and then; raises if the worker is gone.

    Raises:
        TemporaryError: No task ended for `RESULT_LIMIT_S`.
    """
    left = {handle.id: handle for handle in handles}
    end = time.monotonic() + RESULT_LIMIT_S
    while left:
        try:
            for handle in as_completed(list(left.values()), timeout=_CHECK_S):
                del left[handle.id]
                end = time.monotonic() + RESULT_LIMIT_S
                yield handle
        except ResultTimeoutError as error:
            check()
            if time.monotonic() > end:
                raise TemporaryError(
                    f"{len(left)} tasks have no result after {RESULT_LIMIT_S:g} s; the machine may "
                    "be overloaded: try again."
                ) from error


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast images are tagged.

    Attributes:
        done: Images.
        rate: Images a second, lately.
        batch_size: Images in a batch, on average, lately.
    """

    done: int
    rate: float
    batch_size: float

    def __str__(self) -> str:
        return f"{self.rate:6,.0f} images/s in batches of {self.batch_size:.1f}"


class PaceMeter:
    """Measures the pace over the last second.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._latest: deque[tuple[float, int]] = deque()
        self._done = 0

    def count(self, batch_size: int) -> Pace:
        """Count an image that was in a batch of this size."""
        now = self._clock()
        self._done += 1
        self._latest.append((now, batch_size))
        while self._latest[0][0] < now - LATELY_S:
            self._latest.popleft()
        elapsed_s = max(1e-3, min(LATELY_S, now - self._since))
        # Of B images of one batch each counts 1/B batches.
        batches = sum(1 / size for _, size in self._latest)
        return Pace(self._done, len(self._latest) / elapsed_s, len(self._latest) / batches)


class LivePace:
    """Shows the pace: on a terminal a line that changes, elsewhere a line now and then.

    Args:
        console: Shows it.
        total: Images in all.
    """

    def __init__(self, console: Console, total: int) -> None:
        columns = (BarColumn(30), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._console = console
        self._total = total
        self._progress = Progress(
            TextColumn(" "), *columns, console=console, disable=not console.is_terminal
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, pace: Pace) -> None:
        """Show a new pace."""
        if self._console.is_terminal:
            self._progress.update(self._task, completed=pace.done, description=str(pace))
        elif pace.done % max(1, self._total // PLAIN_STEPS) == 0:
            self._console.print(f"  {pace.done:6,} of {self._total:,}  {pace}")


def tag_live(
    handles: Handles, check: Callable[[], None], live: LivePace
) -> Iterable[Handle[Classification]]:
    """Yield tasks as they end, and show the pace meanwhile."""
    meter = PaceMeter()
    for handle in ended(handles, check):
        yield handle
        live.show(meter.count(handle.get(RESULT_LIMIT_S).timing.batch_size))
