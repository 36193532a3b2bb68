"""The command line of `python -m benchmarks.served`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import served
from benchmarks.bench import machine
from benchmarks.bench.pictures import SMALL, make_pictures
from benchmarks.bench.progress import say
from benchmarks.bench.server import BenchError
from benchmarks.bench.weights import VIT_B_32, Weights, make_weights
from benchmarks.model_process.tree import exported
from benchmarks.served.servers import ClipWorker, LitServe, LitSettings, Served
from benchmarks.served.table import most_apart, table
from benchmarks.served.turns import Samples, lone_images, suspend, throughput

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "bench-cache"
PRECISIONS = ("float32", "bfloat16", "int8")
BEFORE = "clip-worker, before"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: Of each server.
        round_s: About how long one takes.
        lone: Images for the latency.
        limit_s: After which no further round begins, counted from the start.
    """

    rounds: int
    round_s: float
    lone: int
    limit_s: float


USUAL = Scale(rounds=5, round_s=4.0, lone=30, limit_s=170.0)
QUICK = Scale(rounds=2, round_s=1.0, lone=3, limit_s=60.0)


def main() -> int:
    """Measure and print a table; the exit status says whether every server took part."""
    options = _options()
    # Else the processes of a LitServe server would outlive a benchmark that `timeout` ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    packages = [*machine.PACKAGES, *(["litserve"] if _has_litserve() else [])]
    described = machine.sentence(machine.describe(packages))
    weights = make_weights(VIT_B_32, CACHE)
    images = make_pictures(SMALL, CACHE / "pictures")
    scale = QUICK if options.quick else USUAL
    with ExitStack() as stack:
        servers = started(stack, contenders(stack, weights, options.before), images)
        rivals = [server.name for server in servers if isinstance(server, LitServe)]
        found = throughput(servers, images, scale.rounds, scale.round_s, begun + scale.limit_s)
        lone_images(servers, found, images, scale.lone)
    print(f"{described}\n\n{notes(found, rivals)}\n\n{table(found, rivals)}")
    return 0 if rivals and len(servers) - len(rivals) >= len(PRECISIONS) else 1


def contenders(stack: ExitStack, weights: Weights, before: str | None) -> Iterator[Served]:
    """All that shall take part."""
    threads = machine.cores()
    # Found by trying 1 and 2 processes, 1 and 2 threads, batches of 1 and 8 on two cores.
    if _has_litserve():
        yield LitServe(
            "LitServe, a process a core", weights, LitSettings(workers=threads, threads=1)
        )
        yield LitServe("LitServe, one process", weights, LitSettings(workers=1, threads=threads))
    else:
        say("LitServe is not installed; `pip install --group bench` installs it")
    if before:
        tree = stack.enter_context(exported(before))
        yield ClipWorker(BEFORE, weights, CACHE, {}, tree.root)
    for precision in PRECISIONS:
        settings = {"CLIP_WORKER_PRECISION": precision}
        yield ClipWorker(f"clip-worker, {precision}", weights, CACHE, settings)


def started(stack: ExitStack, servers: Iterator[Served], images: Sequence[Path]) -> list[Served]:
    """Those that start, ready and suspended."""
    found = []
    for server in servers:
        say(f"  {server.name}: starting")
        try:
            with ExitStack() as own:
                own.enter_context(server)
                server.wait_until_ready(images)
                stack.enter_context(own.pop_all())
        except BenchError as error:
            say(f"  {server.name} is left out: {error}")
            continue
        suspend(server)
        found.append(server)
    return found


def notes(found: dict[str, Samples], rivals: Sequence[str]) -> str:
    """How much each round was, and how far the answers agree."""
    rounds = ", ".join(f"{each.images} {name}" for name, each in found.items())
    taken = next(iter(found.values()))
    exact = found[(*rivals, *found)[0]]
    apart = ", ".join(
        f"{most_apart(exact.answers, each.answers):.1g} {name}" for name, each in found.items()
    )
    return (
        f"ViT-B/32 with random weights, {SMALL.name}, 10 labels; {len(taken.rates)} rounds of "
        f"{rounds}; {len(taken.latency_ms)} lone images each. A probability differs from the first "
        f"server's by at most: {apart}."
    )


def _has_litserve() -> bool:
    return importlib.util.find_spec("litserve") is not None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.served",
        description=served.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a short run that shows it works")
    parser.add_argument("--before", metavar="COMMIT", help="another commit's float32 takes part")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
