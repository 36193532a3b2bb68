"""The command; `benchmarks.model_process` says what it measures and how."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import model_process
from benchmarks.bench import machine
from benchmarks.bench.server import BenchError
from benchmarks.model_process import end_to_end, report
from benchmarks.model_process.case import CASES, QUICK_CASES, Case
from benchmarks.model_process.costless import CostlessWorker, rounds
from benchmarks.model_process.tree import PRESENT, ROOT, Tree, exported

CACHE = ROOT / "build" / "bench-cache"
OLD_DESIGN = "37a75cc"  # the last commit before preparation processes
FILL_S = "0.2"  # for batches to fill, as they do while a GPU is busy
PACKAGES = ("torch", "celery", "kombu", "redis", "pillow")


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        cases: Of the tower that costs nothing.
        rounds: A case.
        seconds: Length of a round, about.
        idle_tasks: Single tasks on an idle worker.
    """

    cases: Sequence[Case]
    rounds: int
    seconds: float
    idle_tasks: int


FULL = Scale(CASES, rounds=24, seconds=0.8, idle_tasks=400)
QUICK = Scale(QUICK_CASES, rounds=3, seconds=0.8, idle_tasks=50)


def main() -> int:
    """Measure and print; 1 if a case failed."""
    options = _options()
    scale = QUICK if options.quick else FULL
    print(machine.sentence(machine.describe(PACKAGES)))
    print(
        f"`python -m benchmarks.model_process {shlex.join(sys.argv[1:])}`, "
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, after is commit "
        f"{machine.describe(())['commit']}, before is {options.before}. "
        f"Something else used {machine.busy():.0%} of the cores just before."
    )
    failed = 0
    with ExitStack() as stack:
        trees = [PRESENT]
        if options.before != "none":
            trees.insert(0, stack.enter_context(exported(options.before)))
        if options.end_to_end:
            with_real_tower(trees, scale)
        else:
            cases = [case for case in scale.cases if options.only in case.title]
            settings = {}
            if options.max_batch:
                wait = {"CLIP_WORKER_MAX_WAIT_S": FILL_S}
                settings = {"CLIP_WORKER_MAX_BATCH": str(options.max_batch)} | wait
            failed = sum([costless(trees, case, scale, settings) for case in cases])
    print(f"\nSomething else used {machine.busy():.0%} of the cores just after.")
    return 1 if failed else 0


def costless(trees: Sequence[Tree], case: Case, scale: Scale, settings: Mapping[str, str]) -> bool:
    """Print the tables of a case; whether that failed."""
    print(f"\n### {case.title}\n", flush=True)
    try:
        with ExitStack() as stack:
            workers = [stack.enter_context(CostlessWorker(tree, CACHE, settings)) for tree in trees]
            samples = rounds(workers, case, CACHE, scale.rounds, scale.seconds)
    except BenchError as error:
        print(f"Failed: {error}", flush=True)
        return True
    print(f"{report.table(samples)}\n\n{report.thread_table(samples)}", flush=True)
    return False


def with_real_tower(trees: Sequence[Tree], scale: Scale) -> None:
    """Print the one table of `--end-to-end`."""
    figures = end_to_end.measure(
        trees, CACHE, rounds=scale.rounds, seconds=scale.seconds, idle_tasks=scale.idle_tasks
    )
    print("\n" + report.compared("", [tree.name for tree in trees], figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_process",
        description=model_process.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a short run that shows it works")
    parser.add_argument("--end-to-end", action="store_true", help="with the real image tower")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose title has it")
    parser.add_argument(
        "--before", default=OLD_DESIGN, metavar="COMMIT", help="compare with it; none for nothing"
    )
    parser.add_argument("--max-batch", type=int, help="batches that fill up, such as 256")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
