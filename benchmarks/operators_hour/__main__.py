"""Runs the hour, and prints or writes the page."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from support.redis_server import NO_SERVER, find_executable

from benchmarks.operators_hour import steps
from benchmarks.operators_hour.hour import Hour
from benchmarks.operators_hour.load import outcomes
from benchmarks.operators_hour.page import Account, page

WAITING = 300


def run(folder: Path, *, workers: int, waiting: int = WAITING) -> tuple[Hour, Account]:
    """All steps.

    Args:
        folder: For all files.
        workers: Up to how many run at the same time.
        waiting: Messages that the load keeps in the queue.

    Raises:
        SystemExit: There is no `redis-server`.
    """
    executable = find_executable()
    if executable is None:
        raise SystemExit(NO_SERVER)
    began = time.monotonic()
    hour = Hour(executable, folder, waiting)
    try:
        hour.redis.start()
        for step in _steps(workers):
            step(hour)
        with hour.client() as redis:
            found = outcomes(redis, hour.load.sent)
    finally:
        hour.end()
    return hour, Account(time.monotonic() - began, found, hour.load.refused)


def _steps(workers: int) -> list[Callable[[Hour], None]]:
    return [
        lambda hour: steps.load_comes(hour, workers),
        steps.model_changes,
        steps.one_is_killed,
        steps.redis_is_full,
        steps.redis_is_away,
        steps.password_changes,
        steps.load_ends,
    ]


def main() -> int:
    """Exit status: 1 if a task was lost."""
    parser = argparse.ArgumentParser(prog="operators_hour", description=__doc__)
    parser.add_argument("--workers", type=int, default=4, help="at the same time")
    parser.add_argument("--page", type=Path, help="file to write; by default it is printed")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="clip-worker-hour-"))
    hour, account = run(folder, workers=options.workers)
    text = page(hour.looks, account)
    if options.page:
        options.page.write_text(text)
    else:
        print(text)
    shutil.rmtree(folder)
    return 1 if account.lost else 0


if __name__ == "__main__":
    sys.exit(main())
