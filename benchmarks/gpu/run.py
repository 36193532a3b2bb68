"""Checks and measures clip-worker on a GPU: one command, under 8 minutes, no network.

    python -m benchmarks.gpu.run [--json FILE] [--only SECTION ...]
    python benchmarks/gpu/run.py --device cpu --quick

Each section runs in a process of its own for a limited time; what one doesn't use is left to the
others. Lines are printed as figures become known, a table last, and the JSON file is rewritten
after every section. The exit status is 1 if a check failed. It needs torch 2.11 or newer and the
packages of `clip_engine`; "end-to-end" needs those of a worker, and a redis-server.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu.isolation import Outcome, run_isolated
from benchmarks.gpu.report import Options, Report
from benchmarks.gpu.results import Results

MINUTES = 7.75
# Each section's module and its share of the time, in the order in which they run.
SECTIONS: dict[str, tuple[str, float]] = {
    "device": ("device", 40),
    "correctness": ("correctness", 90),
    "encoder": ("encoder", 150),
    "batch": ("batch_parts", 20),
    "decoding": ("preparing", 45),
    "end-to-end": ("end_to_end", 130),
    "faults": ("faults", 30),
}


def main() -> int:
    """Run the sections, print the table; 1 if a check failed."""
    arguments = _arguments()
    about = {
        "command": shlex.join(sys.argv),
        "started": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "device": arguments.device,
        "quick": arguments.quick,
    }
    results = Results(about, arguments.json)
    end = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory(prefix="clip-worker-gpu-") as folder:
        for name in arguments.only:
            limit_s = _limit_s(name, arguments.only, end - time.monotonic())
            options = Options(arguments.device, arguments.quick, Path(folder), limit_s)
            print(f"\n== {name}, at most {limit_s:.0f} s", flush=True)
            outcome = run_isolated(functools.partial(run_section, name), options, _say)
            results.add(name, outcome)
            print(f"== {name}: {_ended(outcome)}", flush=True)
    if arguments.costs:
        from benchmarks.gpu import costs  # with torch, which takes a while

        costs.save(costs.with_measured(costs.load(), results.as_json()), arguments.costs)
    print("\n" + results.table())
    return 0 if results.passed else 1


def run_section(name: str, options: Options, report: Report) -> None:
    """Import a section's module in its own process, and run it."""
    module = importlib.import_module(f"benchmarks.gpu.{SECTIONS[name][0]}")
    module.measure(options, report)


def _limit_s(name: str, chosen: Sequence[str], left_s: float) -> float:
    """A section's share of what is left to it and those after it."""
    waiting = [SECTIONS[one][1] for one in chosen[chosen.index(name) :]]
    return left_s * waiting[0] / sum(waiting)


def _say(line: str) -> None:
    print(f"   {line}", flush=True)


def _ended(outcome: Outcome) -> str:
    reason = f" ({outcome.reason})" if outcome.reason else ""
    return f"{outcome.status}{reason} after {outcome.seconds:.1f} s"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu [cuda]")
    parser.add_argument("--quick", action="store_true", help="tiny models: shows that it works")
    parser.add_argument(
        "--only", nargs="+", metavar="SECTION", choices=SECTIONS, default=list(SECTIONS)
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all sections [7.75]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where results are written")
    parser.add_argument(
        "--costs",
        type=Path,
        metavar="FILE",
        help="where to write costs for benchmarks.gpu.model",
    )
    arguments = parser.parse_args()
    if arguments.costs and arguments.quick:
        parser.error("--costs needs models of full size; leave --quick out")
    arguments.only = [name for name in SECTIONS if name in arguments.only]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
