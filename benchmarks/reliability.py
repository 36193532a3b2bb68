"""Single faults, many times: clip-worker beside stock Celery and celery-batches, in one run.

    .venv/bin/python -W ignore benchmarks/reliability.py            (half an hour)
    .venv/bin/python -W ignore benchmarks/reliability.py --quick    (minutes: that it works)

Three drills, each with real processes on a Redis of its own (tests/torture/drills.py): kill -9 of
one of two workers, kill -9 of a lone busy one at random moments, SIGTERM of a busy one. Bias: the
real worker decodes and classifies (demo model), the others do nothing for as long as is said.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from torture.drills import Losses, Recovery, Stops, losses, recovery, slow_repeats, stops
from torture.rig import BATCHES, OUR_PATH, OURS, STOCK, Subject
from torture.verdict import print_table

Found = TypeVar("Found")
WORK_S = 0.25  # of a task, where it matters that workers have something in flight
LATE = {"task_acks_late": True}
SOON = {"broker_transport_options": {"visibility_timeout": 10}}
THREADS = ("-P", "threads", "-c", "16", "--without-mingle", "--without-gossip")
PROCESSES = ("-c", "2", "--without-mingle", "--without-gossip")
BATCHED = {"worker_prefetch_multiplier": 4}  # 4 x 16 messages, for batches of 32
SHORT_LEASE = {"LEASE_S": 3}


@dataclass(frozen=True)
class Case:
    """A subject, and how often it is harmed."""

    subject: Subject
    times: int
    limit_s: float = 60.0
    tasks: int = 24


def main() -> None:
    """Run the drills and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("recovery", "losses", "stops"), default="")
    options = parser.parse_args()
    print(
        f"celery {version('celery')}, kombu {version('kombu')}, "
        f"celery-batches {compared_version('celery-batches')}, torch {version('torch')}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"load average at the start {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    tables = {"recovery": print_recoveries, "losses": print_losses, "stops": print_stops}
    for name, table in tables.items():
        if options.only in ("", name):
            table(2 if options.quick else 0)


def compared_version(package: str) -> str:
    """Of a package that only benchmarks need."""
    try:
        return version(package)
    except PackageNotFoundError:
        raise SystemExit(
            f"{package} is not installed; `make .venv/.bench-stamp` installs what is compared with."
        ) from None


def print_recoveries(quick: int) -> None:
    """Kill -9 of one of two workers, and work that takes longer than its lease."""
    late = LATE | SOON
    cases = [
        Case(Subject("clip-worker, shipped defaults (lease 10 s)", OURS, WORK_S), 20),
        Case(Subject("clip-worker, lease 3 s", OURS, WORK_S, settings=SHORT_LEASE), 20),
        Case(
            Subject("the same, 600 tasks, 0.1 s a batch", OURS, 0.1, settings=SHORT_LEASE),
            *(10, 60, 600),
        ),
        Case(
            Subject("Celery, its defaults (prefork)", STOCK, WORK_S, PROCESSES, fresh=True), 2, 30
        ),
        Case(Subject("Celery, acks_late, threads", STOCK, WORK_S, THREADS, LATE), 2, 30),
        Case(Subject("the same, visibility timeout 10 s", STOCK, WORK_S, THREADS, late), 2, 150),
        Case(
            Subject("celery-batches, acks_late, 10 s", BATCHES, WORK_S, THREADS, late | BATCHED),
            *(2, 150),
        ),
    ]
    head = ("kill -9 of one of two", "kills", "in flight", "median s", "longest s", "never",
            "run again needlessly", "without a result")  # fmt: skip
    rows = [recovery_row(case.subject.name, run(case, quick, recover)) for case in cases]
    print_table([head, *rows])
    for subject in (
        Subject("shipped defaults", OURS, 15.0),
        Subject("lease 3 s", OURS, 5.0, settings=SHORT_LEASE),
    ):
        again = slow_repeats(subject, 40)
        print(f"forward passes of {subject.work_s:g} s, {subject.name}: {again} of 40 run again")


def print_losses(quick: int) -> None:
    """Kill -9 of a lone busy worker, at random moments."""
    cases = [
        Case(Subject("clip-worker", OURS), 60),
        Case(Subject("clip-worker's queue path, tasks that do nothing", OUR_PATH), 60),
        Case(Subject("clip-worker, CLIP_WORKER_QUEUE_PATH=stock", OURS,
                     settings={"QUEUE_PATH": "stock"}), 60),
        Case(Subject("Celery, its defaults (prefork)", STOCK, 0, PROCESSES, fresh=True), 20),
        Case(Subject("Celery, acks_late, threads", STOCK, 0, THREADS, LATE), 60),
        Case(Subject("celery-batches, acks_late", BATCHES, 0, THREADS, LATE | BATCHED), 60),
    ]  # fmt: skip
    head = ("kill -9 of a busy worker", "kills", "tasks begun", "messages lost")
    rows = [loss_row(case.subject.name, run(case, quick, lose)) for case in cases]
    print_table([head, *rows])


def print_stops(quick: int) -> None:
    """SIGTERM of a lone busy worker."""
    cases = [
        Case(Subject("clip-worker", OURS), 10, tasks=1500),
        Case(
            Subject("Celery, its defaults (prefork)", STOCK, 0.01, PROCESSES, fresh=True),
            *(5, 60, 600),
        ),
        Case(Subject("Celery, acks_late, threads", STOCK, 0.01, THREADS, LATE), 10, tasks=4000),
        Case(
            Subject("celery-batches, acks_late", BATCHES, 0.01, THREADS, LATE | BATCHED),
            *(10, 60, 4000),
        ),
    ]
    head = ("SIGTERM under load", "stops", "median s to the end", "redelivered",
            "left in flight", "without a result", "exit status not 0")  # fmt: skip
    rows = [stop_row(case.subject.name, run(case, quick, stop)) for case in cases]
    print_table([head, *rows])


def run(case: Case, quick: int, drill: Callable[[Case, int], Found]) -> tuple[int, Found | str]:
    """How often a case was harmed and what came of it; a drill that can't go on says why."""
    times = min(case.times, quick) if quick else case.times
    start = time.monotonic()
    try:
        found: Found | str = drill(case, times)
    except RuntimeError as error:
        found = str(error).splitlines()[0]
    seconds = time.monotonic() - start
    print(f"  {case.subject.name}: {found} ({seconds:.0f} s)", file=sys.stderr, flush=True)
    return times, found


def recover(case: Case, times: int) -> Recovery:
    """The first drill."""
    return recovery(case.subject, times, tasks=case.tasks, limit_s=case.limit_s)


def lose(case: Case, times: int) -> Losses:
    """The second."""
    return losses(case.subject, times, seed=1)


def stop(case: Case, times: int) -> Stops:
    """The third."""
    return stops(case.subject, times, tasks=case.tasks)


def recovery_row(name: str, ran: tuple[int, Recovery | str]) -> Sequence[str]:
    """A line of the first table."""
    times, found = ran
    if isinstance(found, str):
        return (name, str(times), found, "", "", "", "", "")
    return (
        name,
        str(times),
        f"{min(found.in_flight)}-{max(found.in_flight)}",
        f"{statistics.median(found.seconds):.1f}" if found.seconds else "",
        f"{max(found.seconds):.1f}" if found.seconds else "",
        str(found.never),
        str(found.needless),
        str(found.unfinished),
    )


def loss_row(name: str, ran: tuple[int, Losses | str]) -> Sequence[str]:
    """A line of the second."""
    times, found = ran
    if isinstance(found, str):
        return (name, str(times), found, "")
    return (name, str(times), str(found.begun), str(found.lost))


def stop_row(name: str, ran: tuple[int, Stops | str]) -> Sequence[str]:
    """A line of the third."""
    times, found = ran
    if isinstance(found, str):
        return (name, str(times), found, "", "", "", "")
    return (
        name,
        str(times),
        f"{statistics.median(found.seconds):.1f}",
        str(found.redelivered),
        str(found.left),
        str(found.unfinished),
        str(found.wrong_ends),
    )


if __name__ == "__main__":
    main()
