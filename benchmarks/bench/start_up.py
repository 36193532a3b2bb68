"""How long a worker takes to its first answer, and what importing the client costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.bench.contender import clip_worker_environment
from benchmarks.bench.labels import label_list
from benchmarks.bench.pictures import SMALL, make_pictures
from benchmarks.bench.program import Program
from benchmarks.bench.progress import say
from benchmarks.bench.scale import Scale
from benchmarks.bench.server import Server
from benchmarks.bench.weights import VIT_B_32, make_weights
from benchmarks.client_import import CASES
from benchmarks.client_import import measure as measure_import
from clip_worker import Client

LIMIT_S = 120.0


def measure(scale: Scale, cache: Path) -> dict[str, Any]:
    """Seconds from `clip-worker start` to the first answer, by model; imports, by statement."""
    models = {"demo": "demo", "ViT-B/32": str(make_weights(VIT_B_32, cache).folder)}
    image = str(make_pictures(SMALL, cache / "pictures")[0])
    starts: dict[str, Any] = {name: {"seconds": [], "worker_mb": []} for name in models}
    imports: dict[str, Any] = {name: {"seconds": [], "mb": []} for name in CASES}
    for number in range(scale.starts):
        for name, model in models.items():
            seconds, megabytes = _start(model, image, cache)
            starts[name]["seconds"].append(round(seconds, 3))
            starts[name]["worker_mb"].append(round(megabytes, 1))
        for name, statement in CASES.items():
            seconds, megabytes = measure_import(statement)
            imports[name]["seconds"].append(round(seconds, 4))
            imports[name]["mb"].append(round(megabytes, 1))
        say(
            f"    start {number + 1}: "
            + ", ".join(f"{n} {s['seconds'][-1]} s" for n, s in starts.items())
        )
    return {"starts": starts, "imports": imports}


def _start(model: str, image: str, cache: Path) -> tuple[float, float]:
    """Start a worker while a task waits: seconds to its answer, and the worker's memory then."""
    with Server() as server, Client(server.url) as client:
        task = client.classify(f"file://{image}", label_list(10))
        environment = clip_worker_environment(model, str(cache))(server.url)
        start = time.perf_counter()
        with Program("clip-worker", ["-m", "worker.cli", "start"], environment) as program:
            task.get(timeout=LIMIT_S)
            return time.perf_counter() - start, program.rss_bytes / 1e6
