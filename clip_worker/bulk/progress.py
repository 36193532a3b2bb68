"""How far a bulk run is; a plain object that views read."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clip_worker.sinks.row import Row

NEWEST = 20  # rows
SAMPLE_S = 1.0
SAMPLES = 30  # the rate is that of the last half minute


@dataclass
class Progress:
    """How far a bulk run is.

    Attributes:
        total: How many images the feed has; None if that is not known.
        done: Images that have a row in the sink, those of earlier starts included.
        failed: Images that have failed, those of earlier starts included.
        before: `done` and `failed` when the run was started.
        in_flight: Images that were sent and have not ended.
        retried: Images that had failed before, and have ended again in this start.
        codes: Failures of this start, by code.
        newest: The last rows, failures included, the newest last.
        is_stopping: Whether no more images are sent.
        clock: Monotonic seconds.
    """

    total: int | None = None
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    retried: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    newest: deque[Row] = field(default_factory=lambda: deque(maxlen=NEWEST))
    is_stopping: bool = False
    clock: Callable[[], float] = time.monotonic
    before: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _heard_at: float | None = None  # when an image ended, or none was in flight

    @property
    def ended(self) -> int:
        """Images that have a row, or have failed."""
        return self.done + self.failed

    @property
    def rate(self) -> float:
        """Images per second that ended in the last half minute; 0 at the beginning."""
        if not self._samples:
            return 0.0
        at, ended = self._samples[0]
        passed_s = self.clock() - at
        return (self._worked_on - ended) / passed_s if passed_s > 0 else 0.0

    @property
    def quiet_s(self) -> float:
        """Seconds for which images have been in flight and none has ended."""
        return 0.0 if self._heard_at is None else self.clock() - self._heard_at

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last image has ended; None if that can't be estimated."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.ended) / self.rate

    def begin(self, done: int, failed: int) -> None:
        """Continue from what earlier starts have done."""
        self.done, self.failed, self.before = done, failed, done + failed
        self._heard_at = self.clock()
        self._samples.append((self._heard_at, self._worked_on))

    def note(self, rows: Sequence[Row], *, retried: bool = False) -> None:
        """Count rows that have ended; retried ones had been counted as failed."""
        failed = [row.outcome.error.code for row in rows if row.outcome.error]
        self.done += len(rows) - len(failed)
        self.failed += len(failed)
        if retried:
            self.failed -= len(rows)
            self.retried += len(rows)
        self.codes.update(failed)
        self.newest.extend(rows[-NEWEST:])
        if rows:
            self._heard_at = self.clock()

    def sample(self) -> None:
        """Note the time, for the rate; more often than once a second does nothing."""
        now = self.clock()
        if not self.in_flight:
            self._heard_at = now
        if not self._samples or now - self._samples[-1][0] >= SAMPLE_S:
            self._samples.append((now, self._worked_on))

    @property
    def _worked_on(self) -> int:
        """What the rate counts: an image that is sent again changes from failed to done, or not."""
        return self.ended + self.retried
