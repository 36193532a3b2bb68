"""How long one task takes: alone on an idle worker, and while others are offered too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.bench.contender import Contender, clip_worker, done_at
from benchmarks.bench.labels import label_list
from benchmarks.bench.messages import ClipWorkerSender, cycled
from benchmarks.bench.pictures import SMALL, make_pictures
from benchmarks.bench.progress import say
from benchmarks.bench.raw import RawEngine
from benchmarks.bench.sample import rounded
from benchmarks.bench.scale import Scale
from benchmarks.bench.weights import VIT_B_32, make_weights

LABELS = 10
SATURATING = 128  # tasks that show how many the worker can do a second
PARTS = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)  # of that
PAUSE_S = 0.02  # between two single tasks, so that the worker is idle
LIMIT_S = 120.0


def measure(scale: Scale, cache: Path) -> dict[str, Any]:
    """Idle latency beside the engine's own time, then latency at each offered load."""
    model = str(make_weights(VIT_B_32, cache).folder)
    images = [str(path) for path in make_pictures(SMALL, cache / "pictures")]
    with ExitStack() as stack:
        raw = stack.enter_context(RawEngine(model))
        worker = stack.enter_context(clip_worker(model, str(cache)))
        sender = ClipWorkerSender(worker.server.url)
        stack.callback(sender.close)
        idle = _idle(scale, raw, worker, sender, images)
    with clip_worker(model, str(cache)) as worker:  # the raw engine would take memory and caches
        sender = ClipWorkerSender(worker.server.url)
        worker.warm_up(cycled(images, [label_list(LABELS)] * 64, 64))
        full = worker.run(cycled(images, [label_list(LABELS)] * SATURATING, SATURATING))
        rate = full.tasks / full.seconds
        say(f"    saturated at {rate:.1f}/s")
        load = [_at(worker, sender, images, part * rate, scale.load_s) for part in PARTS]
        sender.close()
    return {"idle": idle, "saturated_rate": round(rate, 2), "load": load}


def _idle(
    scale: Scale,
    raw: RawEngine,
    worker: Contender,
    sender: ClipWorkerSender,
    images: Sequence[str],
) -> dict[str, Any]:
    """One task at a time, and between two of them the same image by the engine alone."""
    labels = label_list(LABELS)
    worker.warm_up(cycled(images, [labels] * 16, 16))
    found: dict[str, list[float]] = {
        name: [] for name in ("forward_s", "whole_s", "task_s", "own_forward_s")
    }
    for i in range(scale.idle_tasks):
        image = images[i % len(images)]
        found["forward_s"] += rounded([raw.once("forward", image, labels, PAUSE_S)])
        found["whole_s"] += rounded([raw.once("whole", image, labels, PAUSE_S)])
        time.sleep(PAUSE_S)
        start = time.perf_counter()
        answer = sender.client.classify(f"file://{image}", labels).get(timeout=LIMIT_S)
        found["task_s"] += rounded([time.perf_counter() - start])
        found["own_forward_s"] += rounded([answer.timing.forward])
    return found


def _at(
    worker: Contender, sender: ClipWorkerSender, images: Sequence[str], rate: float, seconds: float
) -> dict[str, Any]:
    """Offer tasks at an even rate; each counts from the moment it was due, whenever it was sent."""
    count = max(4, int(rate * seconds))
    labels = label_list(LABELS)
    start = time.time() + 0.05
    due = [start + i / rate for i in range(count)]
    ids = []
    for i, moment in enumerate(due):
        time.sleep(max(0.0, moment - time.time()))
        ids.append(sender.send(images[i % len(images)], labels))
    worker.wait_for(ids, every_s=0.05, limit_s=LIMIT_S)
    ends = [done_at(meta) for meta in worker.server.metas(ids)]
    worker.server.drop_results()
    waits = [end - moment for end, moment in zip(ends, due, strict=True)]
    say(f"    offered {rate:.1f}/s: median {sorted(waits)[len(waits) // 2] * 1000:.0f} ms")
    return {
        "offered": round(rate, 2),
        "done": round(count / (max(ends) - start), 2),
        "latency_s": rounded(waits, 4),
    }
