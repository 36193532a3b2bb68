"""Shows how far a run is, in lines of a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from clip_worker.quoting import shown_uri
from worker.cli.output.stalled import stalled
from worker.cli.output.table import printable

if TYPE_CHECKING:
    from clip_worker.bulk.progress import Progress

LINE_S = 10.0


class ProgressLines:
    """Writes a line every few seconds, if something has changed.

    Each new failure has a line too, as far as it is among the newest rows.

    Args:
        say: Writes a line.
        clock: Monotonic seconds.
    """

    def __init__(
        self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._next = 0.0
        self._told = ""
        self._hinted = ""
        self._named_until = 0.0

    def show(self, progress: Progress) -> None:
        """Note how far the run is."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + LINE_S
        line = f"{progress.done:,} done, {progress.failed:,} failed, {progress.in_flight:,} waiting"
        hint = stalled(progress)
        if hint != self._hinted:
            self._hinted = hint
            if hint:
                self._say(hint)
        if line != self._told:
            self._told = line
            self._name_failures(progress)
            self._say(f"{line}, {progress.rate:.1f} images/s")

    def _name_failures(self, progress: Progress) -> None:
        """Of those among the newest rows; the file of failures has all."""
        for row in progress.newest:
            error = row.outcome.error
            if error is not None and row.ended_at > self._named_until:
                reason = f"{printable(error.message)} [{printable(error.code)}]"
                self._say(f"failed: {shown_uri(row.item.image)}: {reason}")
        self._named_until = max((row.ended_at for row in progress.newest), default=0.0)
