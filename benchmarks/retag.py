"""New labels for stored embeddings, against classifying the same images again.

    .venv/bin/python -W ignore -m benchmarks.retag [--images 1000000] [--labels 1000]

ViT-B/32 with random weights. A store in Lance gets that many random embeddings of 512 numbers;
`clip-worker retag` answers for all of them, into JSON lines and into Parquet. In the same run real
workers, one with ViT-B/32 and one with the demo model, classify photographs of 500x375 pixels with
the same labels; their rates say how long the same number would take. Bias: the store is local, and
was just written, so its files are in the page cache; the images are local files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.redis_server import new_server
from support.worker_process import WorkerProcess

from benchmarks.bench.labels import label_list
from benchmarks.bench.weights import VIT_B_32, make_weights
from clip_engine import Engine, load_engine
from clip_worker import Client
from clip_worker.bulk.journal import Journal
from clip_worker.sinks.open import open_sink
from worker.cli.retag.records import RecordWriter
from worker.cli.retag.run import RetagRun
from worker.cli.retag.scorer import Scorer
from worker.embeddings.lance_store import LanceStore
from worker.embeddings.space import space_of
from worker.embeddings.store import Embedding
from worker.pipeline.image_task import TaggingRequest
from worker.pipeline.scoring_plan import ScoringPlanner

CACHE = Path(__file__).resolve().parents[1] / "build" / "bench-cache"
TEMPLATES = ("a photo of a {}.",)
PUT = 20_000  # embeddings a batch
PHOTOGRAPHS = {"ViT-B/32": 64, "demo": 1_000}  # that a worker classifies
WARM = 32
CORES = 2


def main() -> None:
    """Print what each step took, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=1_000)
    asked = parser.parse_args()
    labels = label_list(asked.labels)
    weights = str(make_weights(VIT_B_32, CACHE).folder)
    engine = load_engine(weights)
    print("| what | seconds | images/s |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="retag-") as name:
        folder = Path(name)
        store = LanceStore(str(folder / "embeddings"), index_rows=sys.maxsize)
        fill(store, engine, asked.images)
        began = time.perf_counter()
        engine.labels.get(labels, TEMPLATES)
        show(f"{asked.labels:,} labels through the text tower", began, 0)
        taken = [
            retag(store, engine, labels, folder / target, asked.images)
            for target in ("answers.jsonl", "answers.parquet")
        ]
        store.close()
        rates = {
            "ViT-B/32": worker_rate(weights, labels, folder, PHOTOGRAPHS["ViT-B/32"]),
            "demo": worker_rate("demo", labels, folder, PHOTOGRAPHS["demo"]),
        }
    for model, rate in rates.items():
        again_s = asked.images / rate
        print(
            f"| classify them again, {model} (from {PHOTOGRAPHS[model]:,} photographs) | "
            f"{again_s:,.0f} | {rate:,.1f} |"
        )
        print(f"| that is so many times as long as into Parquet | {again_s / taken[1]:,.0f} | |")


def fill(store: LanceStore, engine: Engine, count: int) -> None:
    """Store random embeddings."""
    began, generator, space = time.perf_counter(), np.random.default_rng(7), space_of(engine)
    for begin in range(0, count, PUT):
        size = min(PUT, count - begin)
        features = generator.standard_normal((size, space.dimensions), np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        store.put(space, [*embeddings(features, begin)])
    store.maintain(space)
    show("fill the store", began, count)


def embeddings(
    features: np.ndarray[tuple[int, int], np.dtype[np.float32]], begin: int
) -> Iterator[Embedding]:
    """Embeddings of images with numbers from `begin` on."""
    for number, feature in enumerate(features, begin):
        content = hashlib.sha256(str(number).encode()).hexdigest()
        yield Embedding(content, f"s3://pictures/2026/11/{number:09}.jpg", feature)


def retag(store: LanceStore, engine: Engine, labels: list[str], target: Path, count: int) -> float:
    """Answer for all that is stored; the seconds that it took."""
    began = time.perf_counter()
    request = TaggingRequest(tuple(labels), TEMPLATES, 5)
    plan = ScoringPlanner(engine, None).of_labels(request)
    text = engine.text_features([engine.labels.get(*each) for each in plan.lists])
    sink = open_sink(str(target))
    with Journal(target.with_suffix(".journal"), {}) as journal:
        RetagRun(
            store,
            space_of(engine),
            scorer=Scorer(engine, plan, text, k=request.k, threads=CORES),
            writer=RecordWriter(sink, engine.identity, plan, None),
            sink=sink,
            journal=journal,
        ).run()
        assert journal.done == count
    return show(f"re-tag into {target.suffix}", began, count)


def worker_rate(model: str, labels: list[str], folder: Path, count: int) -> float:
    """Photographs a second that a real worker classifies."""
    pictures = folder / f"pictures-{count}"
    pictures.mkdir()
    uris = [photograph(pictures / f"{number}.jpg", number) for number in range(count + WARM)]
    with (
        new_server() as server,
        WorkerProcess(server.url, folder, model=model, file_roots=str(folder)),
        Client(server.url) as client,
    ):
        for _ in client.classify_many(uris[:WARM], labels, timeout=600):
            pass
        began = time.perf_counter()
        outcomes = [
            outcome for _, outcome in client.classify_many(uris[WARM:], labels, timeout=600)
        ]
        took_s = time.perf_counter() - began
    assert all(outcome.status == "ok" for outcome in outcomes)
    return count / took_s


def photograph(path: Path, number: int) -> str:
    """Write a JPEG of 500x375 pixels; its URI."""
    noise = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG")
    path.write_bytes(file.getvalue())
    return path.as_uri()


def show(what: str, began: float, count: int) -> float:
    """Print a line; the seconds that it took."""
    took_s = time.perf_counter() - began
    rate = f"{count / took_s:,.0f}" if count else ""
    print(f"| {what} | {took_s:.1f} | {rate} |", flush=True)
    return took_s


if __name__ == "__main__":
    main()
