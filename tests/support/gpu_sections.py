"""Sections of `benchmarks.gpu.run` that end in every way there is; each is run in a process."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from benchmarks.gpu.report import SkippedError

if TYPE_CHECKING:
    from benchmarks.gpu.report import Options, Report


def complete(options: Options, report: Report) -> None:
    report.say(f"on {options.device}")
    report.record("rate", 2.5)
    report.row("rate", "2.5 images/s")
    report.check("right", passed=True, found="1.0")
    logging.getLogger("clip_engine.inference").warning("half of %s", "it")


def raises(options: Options, report: Report) -> None:
    complete(options, report)
    raise ValueError("no such kernel\nand more")


def crashes(options: Options, report: Report) -> None:
    complete(options, report)
    os._exit(11)


def hangs(options: Options, report: Report) -> None:
    complete(options, report)
    threading.Event().wait()


def needs_a_package(options: Options, report: Report) -> None:
    raise ModuleNotFoundError("No module named 'psutil'")


def needs_redis(options: Options, report: Report) -> None:
    raise SkippedError("there is no redis-server")
