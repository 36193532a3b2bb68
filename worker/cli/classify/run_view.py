"""Shows how far a bulk run is: a line on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.cli.output.stalled import stalled
from worker.cli.output.usage_error import say

if TYPE_CHECKING:
    from clip_worker.bulk.progress import Progress
    from worker.cli.output.progress_line import ProgressLine

REDRAW_S = 0.2
LINE_S = 60.0
FAST = 10  # images per second, from which on fractions of them are not shown


class RunView:
    """Shows progress as it is called.

    Args:
        line: On a terminal.
        is_terminal: Whether there is one.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        line: ProgressLine,
        *,
        is_terminal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._every_s = REDRAW_S if is_terminal else LINE_S
        self._is_terminal = is_terminal
        self._clock = clock
        self._shown_at = clock()
        self._said_that_it_stops = False
        self._hinted = ""

    def __call__(self, progress: Progress) -> None:
        """Show it, if it is time to."""
        if progress.is_stopping and not self._said_that_it_stops:
            self._said_that_it_stops = True
            self._line.erase()
            say(
                f"Stopping: waiting for {progress.in_flight:,} images in flight; Ctrl-C again "
                "stops at once, and loses nothing."
            )
        self._hint(stalled(progress))
        if self._clock() - self._shown_at < self._every_s:
            return
        self._shown_at = self._clock()
        if self._is_terminal:
            self._line.update(progress.ended, progress.total, speed(progress))
        else:
            of = "" if progress.total is None else f" of {progress.total:,}"
            say(f"{progress.ended:,}{of} images, {speed(progress)}.")

    def _hint(self, hint: str) -> None:
        if hint == self._hinted:
            return
        self._hinted = hint
        if hint:
            self._line.erase()
            say(hint)


def speed(progress: Progress) -> str:
    """Rate, time left and failures, as in `1,234/s, 0:12:05 left, 3 failed`."""
    parts = [
        f"{progress.rate:,.0f}/s" if progress.rate >= 10 else f"{progress.rate:.1f}/s"
    ]  # two digits at least
    if progress.eta_s is not None:
        parts.append(f"{timedelta(seconds=round(progress.eta_s))} left")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    return ", ".join(parts)
