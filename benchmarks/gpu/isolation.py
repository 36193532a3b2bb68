"""Runs a section in a process of its own, for a limited time.

A crash, an out-of-memory kill, a lost CUDA context or a hang then costs that section only, and
what it had found before is kept.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.gpu.report import Event, Options, Report, SkippedError, WarningsToReport

Section = Callable[[Options, Report], None]
COMPLETE, SKIPPED, FAILED, CUT_SHORT = "complete", "skipped", "failed", "cut short"
EXIT_LIMIT_S = 5.0  # for a process that has reported its end


@dataclass
class Outcome:
    """What a section found.

    Attributes:
        status: `complete`, `skipped`, `failed` or `cut short`.
        reason: Why, unless it is complete.
        seconds: How long it ran.
        figures: By name, as JSON can hold them.
        rows: Of the last table: what, and its figure.
        checks: What was checked, whether it passed, and what was found.
        warnings: Logged by the package.
        left_out: For lack of time.
    """

    status: str = CUT_SHORT
    reason: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Keep what the section said, except lines."""
        kind, fact = event
        if kind == "figure":
            self.figures[fact[0]] = fact[1]
        elif kind == "end":
            self.status, self.reason = fact
        elif kind == "row":
            self.rows.append(fact)
        elif kind == "check":
            self.checks.append(fact)
        elif kind == "warning":
            self.warnings.append(fact)
        elif kind == "left_out":
            self.left_out.append(fact)


def run_isolated(section: Section, options: Options, say: Callable[[str], None]) -> Outcome:
    """Run a section; it is killed after `options.limit_s`.

    Args:
        section: A function of a module, which the new process imports.
        options: Of the section.
        say: Takes its lines.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(section, options, theirs))
    outcome, start = Outcome(), time.monotonic()
    process.start()
    theirs.close()  # or the pipe would never end
    in_time = _listen(ours, outcome, say, start + options.limit_s)
    process.join(EXIT_LIMIT_S if in_time else 0)
    process.kill()  # no more than a formality unless it is cut short
    process.join()
    if not in_time:
        outcome.reason = f"it took longer than its {options.limit_s:.0f} s"
    elif outcome.status == CUT_SHORT:
        outcome.status = FAILED
        outcome.reason = f"its process ended with status {process.exitcode}"
    outcome.seconds = round(time.monotonic() - start, 1)
    return outcome


def _listen(pipe: Connection, outcome: Outcome, say: Callable[[str], None], end: float) -> bool:
    """Take events until the section or its process has ended; False if the time is up before."""
    while pipe.poll(max(0.0, end - time.monotonic())):
        try:
            event = pipe.recv()
        except EOFError:
            return True
        outcome.add(event)
        if event[0] == "line":
            say(event[1])
        if event[0] == "end":
            return True
    return False


def _serve(section: Section, options: Options, pipe: Connection) -> None:
    """In the new process: run the section and say how it ended."""
    report = Report(pipe.send, options.limit_s)
    tempfile.tempdir = str(options.folder)  # what a killed process leaves there is deleted too
    for name in ("clip_engine", "worker"):
        logging.getLogger(name).addHandler(WarningsToReport(report))
    pipe.send(("end", _ending(section, options, report)))
    pipe.close()
    os._exit(0)  # without waiting for threads that a fault has left behind


def _ending(section: Section, options: Options, report: Report) -> tuple[str, str]:
    try:
        section(options, report)
    except SkippedError as error:
        return SKIPPED, str(error)
    except ModuleNotFoundError as error:
        return SKIPPED, f"{error}; install it (CONTRIBUTING.md)"
    except Exception as error:  # noqa: BLE001  # reported; the other sections go on
        report.say(traceback.format_exc())
        return FAILED, f"{type(error).__name__}: {error}".partition("\n")[0]
    return COMPLETE, ""
