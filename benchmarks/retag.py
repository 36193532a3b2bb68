"""New labels for stored embeddings, against classifying the same images again.

    .venv/bin/python -W ignore -m benchmarks.retag [--images 1000000] [--labels 1000] [--no-worker]

A store in Lance gets that many random embeddings of 512 numbers, as many as ViT-B/32 has, and
`retag` answers for all of them, with random features of that many labels, into JSON lines and into
Parquet: scan, product, softmax, the five best labels, output. Encoding the labels is not in it:
1,000 take ViT-B/32's text tower some seconds (`benchmarks/new_labels.py`). In the same run a real
worker with the demo model classifies photographs of 500x375 pixels with as many labels; its rate,
and ViT-B/32's of docs/performance.md, say how long the same number would take. Bias: the store is
local and was just written, so its files are in the page cache; the photographs are local files. On
a busy machine look at the processor's seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.redis_server import new_server
from support.worker_process import WorkerProcess

from benchmarks.bench.labels import label_list
from clip_engine import Engine, load_engine
from clip_engine.scoring.text_features import TextFeatures
from clip_worker import Client
from clip_worker.bulk.journal import Journal
from clip_worker.sinks.open import open_sink
from worker.cli.retag.records import RecordWriter
from worker.cli.retag.run import RetagRun
from worker.cli.retag.scorer import Scorer
from worker.embeddings.lance_store import LanceStore
from worker.embeddings.store import Embedding, Space
from worker.pipeline.image_task import TaggingRequest
from worker.pipeline.scoring_plan import ScoringPlanner

SPACE = Space("0" * 64, "random", 512)
TEMPLATES = ("a photo of a {}.",)
PUT = 20_000  # embeddings a batch
PHOTOGRAPHS = 1_000  # that the worker classifies
WARM = 64
CORES = 2
VIT_B_32_RATE = 20.3  # images/s of a worker on two cores with 1,000 labels: docs/performance.md


def main() -> None:
    """Print what each step took, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=1_000)
    parser.add_argument("--no-worker", action="store_true")
    asked = parser.parse_args()
    labels, engine = label_list(asked.labels), load_engine("demo")
    print("| what | seconds | processor's seconds | images/s |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="retag-") as name:
        folder = Path(name)
        store = LanceStore(str(folder / "embeddings"), index_rows=sys.maxsize)
        fill(store, asked.images)
        targets = folder / "answers.jsonl", folder / "answers.parquet"
        taken = [retag(store, engine, labels, target, asked.images) for target in targets]
        store.close()
        rates = {"ViT-B/32": VIT_B_32_RATE}
        if not asked.no_worker:
            rates["demo"] = worker_rate(labels, folder)
    for model, rate in rates.items():
        again_s = asked.images / rate
        ratio = again_s / max(taken)
        print(f"| classify them again, {model}: {ratio:,.0f} times | {again_s:,.0f} | | {rate} |")


def fill(store: LanceStore, count: int) -> None:
    """Store random embeddings."""
    began, generator = clocks(), np.random.default_rng(7)
    for begin in range(0, count, PUT):
        size = min(PUT, count - begin)
        features = generator.standard_normal((size, SPACE.dimensions), np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        store.put(SPACE, [*embeddings(features, begin)])
    store.maintain(SPACE)
    show("fill the store", began, count)


def embeddings(features: NDArray[np.float32], begin: int) -> Iterator[Embedding]:
    """Embeddings of images with numbers from `begin` on."""
    for number, feature in enumerate(features, begin):
        content = hashlib.sha256(str(number).encode()).hexdigest()
        yield Embedding(content, f"s3://pictures/2026/11/{number:09}.jpg", feature)


def retag(
    store: LanceStore, engine: Engine, labels: Sequence[str], target: Path, count: int
) -> float:
    """Answer for all that is stored; the seconds that it took."""
    request = TaggingRequest(tuple(labels), TEMPLATES, 5)
    plan = ScoringPlanner(engine, None).of_labels(request)
    torch.manual_seed(7)
    features = torch.nn.functional.normalize(torch.randn(len(labels), SPACE.dimensions))
    began, sink = clocks(), open_sink(str(target))
    with Journal(target.with_name(f"{target.name}.journal"), {}) as journal:
        RetagRun(
            store,
            SPACE,
            scorer=Scorer(engine, plan, TextFeatures(features), k=request.k, threads=CORES),
            writer=RecordWriter(sink, engine.identity, plan, None),
            sink=sink,
            journal=journal,
        ).run()
        assert journal.done == count
    return show(f"re-tag into {target.suffix}", began, count)


def worker_rate(labels: Sequence[str], folder: Path) -> float:
    """Photographs a second that a real worker with the demo model classifies."""
    pictures = folder / "pictures"
    pictures.mkdir()
    count = WARM + PHOTOGRAPHS
    uris = [photograph(pictures / f"{number}.jpg", number) for number in range(count)]
    with (
        new_server() as server,
        WorkerProcess(server.url, folder) as worker,
        Client(worker.redis) as client,
    ):
        for _ in client.classify_many(uris[:WARM], labels, timeout=600):
            pass
        began = clocks()
        outcomes = [*client.classify_many(uris[WARM:], labels, timeout=600)]
        took_s = show("a worker with the demo model", began, PHOTOGRAPHS)
    assert all(outcome.status == "ok" for _, outcome in outcomes)
    return round(PHOTOGRAPHS / took_s, 1)


def photograph(path: Path, number: int) -> str:
    """Write a JPEG of 500x375 pixels; its URI."""
    noise = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG")
    path.write_bytes(file.getvalue())
    return path.as_uri()


def clocks() -> tuple[float, float]:
    """Seconds that have passed, and that this process's threads have computed."""
    return time.perf_counter(), time.process_time()


def show(what: str, began: tuple[float, float], count: int) -> float:
    """Print a line; the seconds that it took."""
    took_s, computed_s = (now - then for now, then in zip(clocks(), began, strict=True))
    print(f"| {what} | {took_s:.1f} | {computed_s:.1f} | {count / took_s:,.0f} |", flush=True)
    return took_s


if __name__ == "__main__":
    main()
