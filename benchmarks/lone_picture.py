"""What one image takes on an idle worker, and many images a full one, before and after a change.

    python -m benchmarks.lone_picture --before COMMIT     (3 minutes; --model demo: 1 minute)

Two real workers on the CPU, each with a `redis-server` of its own: one from `git archive` of the
commit, one from the present tree. They take turns, single tasks on the idle workers first, then
rounds of as many tasks as a worker can take. ViT-B/32 has random weights. The idle worker of the
two still holds its memory; the benchmark and Redis share the cores with the worker whose turn it
is.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack

from benchmarks.bench import machine
from benchmarks.bench.weights import VIT_B_32, make_weights
from benchmarks.model_process.end_to_end import idle_latency, throughput
from benchmarks.model_process.report import compared
from benchmarks.model_process.subject import Subject
from benchmarks.model_process.tree import PRESENT, ROOT, exported

CACHE = ROOT / "build" / "bench-cache"
PACKAGES = ("torch", "celery", "redis", "pillow")
IDLE_TASKS = 40
WARM_UP_TASKS = 5  # first batches of a size, and labels
LEAST = 48  # tasks a round
ROUNDS = 4
ROUND_S = 8.0


def main() -> int:
    """Measure and print one table."""
    options = _options()
    print(machine.sentence(machine.describe(PACKAGES)))
    print(f"Something else used {machine.busy():.0%} of the cores just before.", flush=True)
    is_demo = options.model == "demo"
    model = "demo" if is_demo else str(make_weights(VIT_B_32, CACHE).folder)
    settings = {"CLIP_WORKER_MODEL": model, "CLIP_WORKER_DEVICE": "cpu"}
    with ExitStack() as stack:
        trees = [stack.enter_context(exported(options.before)), PRESENT]
        subjects = [stack.enter_context(Subject(tree, CACHE, settings=settings)) for tree in trees]
        idle_latency(subjects, WARM_UP_TASKS)
        figures = {"idle, one image at a time: ms": idle_latency(subjects, IDLE_TASKS)}
        figures |= throughput("full queue", subjects, ROUNDS, ROUND_S, LEAST)
    print("\n" + compared(options.model, [tree.name for tree in trees], figures))
    print(f"\nSomething else used {machine.busy():.0%} of the cores just after.")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lone_picture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--before", required=True, metavar="COMMIT", help="to compare with")
    parser.add_argument("--model", choices=("ViT-B/32", "demo"), default="ViT-B/32")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
