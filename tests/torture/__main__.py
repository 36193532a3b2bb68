"""`make torture`: run, print, and exit with 1 if a rule was violated."""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from torture.run import Plan, torture
from torture.workload import Shares


def main() -> int:
    """Exit status."""
    options = _options()
    print(
        f"celery {version('celery')}, kombu {version('kombu')}, redis-py {version('redis')}, "
        f"torch {version('torch')}, Python {platform.python_version()}; seed {options.seed}",
        flush=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="clip-worker-torture-"))
    outcome = torture(_plan(options), folder)
    print(
        f"\n{options.tasks} tasks, {options.workers} workers, {outcome.seconds:.0f} s, "
        f"{len(outcome.evidence.lives)} worker processes\n"
    )
    outcome.print()
    if options.keep or not outcome.holds:
        print(f"\njournals and logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 0 if outcome.holds else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--tasks", type=int, default=Plan.tasks)
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--seconds", type=float, default=Plan.limit_s, help="end after so long")
    parser.add_argument("--stall", type=float, default=Plan.stall_s, help="longest standstill")
    parser.add_argument("--interval", type=float, default=Plan.interval_s, help="between events")
    parser.add_argument("--stop", type=float, default=Plan.stop_s, help="length of a SIGSTOP")
    parser.add_argument("--poison", type=float, default=Shares.poison, help="share of tasks")
    parser.add_argument("--processes", choices=("zygote", "fresh"), default="zygote")
    parser.add_argument("--stock", action="store_true", help="kombu's own transport")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting of the workers, without CLIP_WORKER_")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep journals and logs")
    return parser.parse_args()


def _plan(options: argparse.Namespace) -> Plan:
    settings = [f"CLIP_WORKER_{pair}".partition("=")[::2] for pair in options.set]
    if options.stock:
        settings.append(("CLIP_WORKER_QUEUE_PATH", "stock"))
    return Plan(
        tasks=options.tasks,
        workers=options.workers,
        seed=options.seed,
        interval_s=options.interval,
        stop_s=options.stop,
        limit_s=options.seconds,
        stall_s=options.stall,
        shares=Shares(poison=options.poison),
        fresh=options.processes == "fresh",
        settings=tuple(settings),
    )


if __name__ == "__main__":
    sys.exit(main())
