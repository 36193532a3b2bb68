"""What a fleet of cold workers spends on a list of labels, with and without sharing through Redis.

    python -W ignore -m benchmarks.shared_text_features redis://localhost:6379/0

Processes load a model, wait for each other, and ask for the features of the same new labels: once
each for itself, once with `worker.text_features`. It prints the texts that were encoded and the
processor seconds of all processes together; processes that wait for Redis spend none. It needs a
Redis that may be written to, and deletes what it has stored there. On a machine with fewer cores
than processes, seconds by the clock would flatter sharing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from clip_engine import load_engine
from clip_engine.prompts import DEFAULT_TEMPLATE
from clip_worker.contract.keys import text_features_key
from clip_worker.redis.url import connect
from worker.text_features.redis_features import RedisFeatures
from worker.text_features.shared_features import SharedFeatures

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

MAX_BYTES = 64 * 1024 * 1024
SPACE = "benchmark"
LIMIT_S = 600.0


class Cost(NamedTuple):
    """What one process has spent."""

    texts: int
    processor_s: float


def main() -> None:
    """Print a table, a line for each way."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("redis_url")
    arguments.add_argument("--model", default="demo")
    arguments.add_argument("--workers", type=int, default=8)
    arguments.add_argument("--labels", type=int, default=1000)
    given = arguments.parse_args()
    print("| | texts encoded | processor seconds |")
    print("| --- | --- | --- |")
    totals = []
    for name, url in (("each for itself", None), ("shared", given.redis_url)):
        costs = measure(given.model, given.workers, given.labels, url)
        totals.append(sum(cost.processor_s for cost in costs))
        texts = sum(cost.texts for cost in costs)
        print(f"| {name} | {texts:,} | {totals[-1]:.2f} |", flush=True)
    print(f"\n{totals[0] / totals[1]:.1f} times")


def measure(model: str, workers: int, labels: int, redis_url: str | None) -> list[Cost]:
    """The costs of all processes; those that share begin with nothing in Redis."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(workers) as pool:
        together = manager.Barrier(workers, timeout=LIMIT_S)
        work = partial(encode, model, labels, redis_url, together)
        costs = pool.map(work, range(workers), chunksize=1)
    if redis_url is not None:
        with connect(redis_url) as redis:
            redis.delete(text_features_key(SPACE))
    return costs


def encode(model: str, labels: int, redis_url: str | None, together: Barrier, _: int) -> Cost:
    """What one process spends on the features, its model loaded and warm."""
    torch.set_num_threads(1)
    engine = load_engine(model, device="cpu")
    engine.texts.encode(["warm"])
    if redis_url is not None:
        redis = connect(redis_url)
        store = RedisFeatures(redis, SPACE, engine.model.embed_dim, MAX_BYTES)
        engine.labels.share(SharedFeatures(store))
    together.wait()
    began_s = time.process_time()
    engine.labels.get([f"thing number {number}" for number in range(labels)], (DEFAULT_TEMPLATE,))
    return Cost(engine.labels.texts_encoded, time.process_time() - began_s)


if __name__ == "__main__":
    main()
