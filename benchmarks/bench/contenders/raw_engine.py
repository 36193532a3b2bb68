"""(a) The ceiling: the engine in a loop, without a queue, on all cores.

As many threads as the worker has replicas, one torch thread each; a thread takes the next
images, decodes, encodes and scores them, so no core waits for another. It reads one request a
line from stdin, and answers each with one line, both JSON:

    {"images": [path…], "labels": [[label…]…], "k": 5}   labels: one list, or one an image
    {"seconds": 1.2, "cpu_s": 2.3, "answers": [[["cat", 0.9]…]…]}

or, for the time of one image:

    {"once": "forward" or "whole", "image": path, "labels": [label…], "pause_s": 0.02}
    {"seconds": 0.04}
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from clip_engine import Engine, load_engine
from clip_engine.prompts import DEFAULT_TEMPLATE
from worker.settings import Settings


def main() -> None:
    """Load, say so, then serve requests until stdin ends."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    torch.set_num_threads(1 if threads > 1 else torch.get_num_threads())
    settings = Settings.load()
    precision = None if settings.precision == "auto" else settings.precision
    engine = load_engine(settings.model, precision=precision, replicas=threads)
    engine.warm()
    say({"ready": True, "precision": str(engine.model.precision)})
    with ThreadPoolExecutor(threads) as pool:
        for line in sys.stdin:
            request = json.loads(line)
            say(once(engine, request) if "once" in request else loop(engine, pool, request))


def say(answer: dict[str, Any]) -> None:
    """One line of JSON."""
    print(json.dumps(answer), flush=True)


def loop(engine: Engine, pool: ThreadPoolExecutor, request: dict[str, Any]) -> dict[str, Any]:
    """Classify all images of a request, and say how long it took."""
    images, labels = request["images"], itertools.cycle(request["labels"])
    work = list(zip(images, labels, strict=False))
    # A few tasks' labels are their threads' work too: smaller chunks when there are few.
    size = max(1, min(engine.max_batch, len(work) // 2))
    chunks = [work[i : i + size] for i in range(0, len(work), size)]
    start, cpu = time.perf_counter(), time.process_time()
    answers = list(pool.map(lambda chunk: classify(engine, chunk, request["k"]), chunks))
    return {
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "answers": list(itertools.chain(*answers)),
    }


def classify(
    engine: Engine, chunk: Sequence[tuple[str, list[str]]], k: int
) -> list[list[tuple[str, float]]]:
    """The k best labels of each image; neighbours with the same labels are scored together."""
    features = engine.encode_pixels([engine.prepare(image) for image, _ in chunk])
    answers, first = [], 0
    for labels, group in itertools.groupby(chunk, key=lambda task: task[1]):
        texts, last = engine.labels.get(labels, (DEFAULT_TEMPLATE,)), first + len(list(group))
        answers += engine.classify_features(features[first:last], texts, labels, k)
        first = last
    return [[(one.label, one.probability) for one in best] for best in answers]


def once(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """Time the image tower alone or all of the engine's work, on one image."""
    pixels = [engine.prepare(request["image"])]
    engine.labels.get(request["labels"], (DEFAULT_TEMPLATE,))
    time.sleep(request["pause_s"])  # as idle as the worker that it is compared with
    start = time.perf_counter()
    if request["once"] == "forward":
        engine.encode_pixels(pixels)
    else:
        engine.classify([request["image"]], request["labels"])
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
