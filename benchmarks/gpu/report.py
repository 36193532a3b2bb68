"""What a section says while it runs: lines, figures, rows of the last table, checks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = tuple[str, Any]  # what kind of fact, and the fact; it is pickled
SOFT_SHARE = 0.85  # of a section's time, after which it starts nothing new


@dataclass(frozen=True)
class Options:
    """What all sections are given.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`.
        quick: Tiny models and short rounds, which only show that the script works.
        folder: For checkpoints and images; the sections of a run share it.
        limit_s: After which the section's process is killed.
    """

    device: str
    quick: bool
    folder: Path
    limit_s: float

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("cuda")

    @property
    def round_s(self) -> float:
        """How long one figure is measured."""
        return 0.02 if self.quick else 0.5


class SkippedError(Exception):
    """A section can't run on this machine; the sentence says why and what would help."""


@dataclass
class Report:
    """Hands each fact over at once, so that nothing is lost when the section is ended.

    Attributes:
        send: Takes the facts.
        limit_s: After which the section is ended.
        clock: Seconds.
    """

    send: Callable[[Event], None]
    limit_s: float
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def say(self, line: str) -> None:
        """Print a line now."""
        self.send(("line", line))

    def record(self, name: str, value: Any) -> None:
        """Keep a figure, or a JSON object of several, for the file of results."""
        self.send(("figure", (name, value)))

    def row(self, what: str, value: str) -> None:
        """Add a row to the last table."""
        self.send(("row", (what, value)))

    def check(self, what: str, *, passed: bool, found: str) -> None:
        """Keep whether a check passed; one that doesn't makes the exit status 1."""
        self.send(("check", {"what": what, "passed": passed, "found": found}))
        self.say(f"{'ok  ' if passed else 'FAIL'} {what}: {found}")

    def has_time(self, what: str, seconds: float = 0.0) -> bool:
        """Whether there is time for something else; what is left out is said and kept.

        Args:
            what: For the line.
            seconds: How long it will take, about.
        """
        spent_s = self.clock() - self.started
        if spent_s + seconds <= SOFT_SHARE * self.limit_s:
            return True
        self.send(("left_out", what))
        self.say(f"left out for lack of time: {what}")
        return False


class WarningsToReport(logging.Handler):
    """Hands warnings of the package's loggers over: about graphs, memory, devices."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one over."""
        self._report.send(("warning", record.getMessage()))
        self._report.say(f"warning: {record.getMessage()}")
