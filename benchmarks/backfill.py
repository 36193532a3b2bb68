"""`clip-worker classify --from`: its rate beside `submit_many` by hand, and what kills cost.

    python -m benchmarks.backfill                             (100,000 pictures, 5 rounds)
    python -m benchmarks.backfill --images 3000 --compared 500 --rounds 1  (shows that it works)

Both ways classify the same images in turn, several rounds, each in a process of its own; the time
is from the first image sent to the last row written, and the processor time is the client's. By
hand: all images by one `submit_many`, the results by `as_completed`, a JSON line each, no more.
First with the demo model and small JPEG files, then, with four times as many images, with a worker
without the work on pixels (`benchmarks.soak_app`): there the client is what limits the rate.
Everything shares this machine's cores.

Then one run over all pictures, with the demo model, is killed twice (SIGKILL) and continued; each
image must have one row, and the memory of the client is sampled meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import psutil
from PIL import Image

from benchmarks.bench import machine
from benchmarks.bench.names import QUEUE
from benchmarks.bench.program import Program
from benchmarks.bench.server import Server, wait_until
from benchmarks.soak import is_ready
from clip_worker import Client, as_completed
from clip_worker.bulk.failures import FailuresFile
from clip_worker.bulk.journal import Journal
from clip_worker.bulk.run import BulkRun
from clip_worker.bulk.supply import FeedSupply
from clip_worker.feeds.open_feed import open_feed
from clip_worker.sinks.open import open_sink
from worker.cli.demo.redis_server import find_free_port

LABELS = ["a cat", "a dog", "a car", "a tree", "a house"]
KILLS = 2
SAMPLE_S = 0.5
MIB = 2**20


Cost = tuple[float, float]  # seconds, and seconds of processor time


def by_hand(url: str, table: Path, results: Path) -> Cost:
    """What a loop without a journal takes."""
    uris = [line.rstrip() for line in table.open()][1:]
    with Client(url, queue=QUEUE) as client, results.open("w") as file:
        start, cpu = time.perf_counter(), time.process_time()
        handles = client.submit_many(uris, LABELS)
        images = {handle.id: uri for handle, uri in zip(handles, uris, strict=True)}
        for handle in as_completed(handles):
            result = handle.get().model_dump(mode="json", exclude_none=True)
            file.write(json.dumps({"image": images[handle.id], **result}) + "\n")
        return time.perf_counter() - start, time.process_time() - cpu


def by_run(url: str, table: Path, results: Path) -> Cost:
    """What a bulk run takes."""
    failures = FailuresFile(results.with_suffix(".failures"))
    with (
        Client(url, queue=QUEUE) as client,
        Journal(results.with_suffix(".journal"), {}) as journal,
    ):
        options = {"labels": LABELS}
        run = BulkRun(client, open_sink(str(results)), journal, failures, options=options)
        start, cpu = time.perf_counter(), time.process_time()
        run.run(FeedSupply(open_feed(str(table)), journal))
        return time.perf_counter() - start, time.process_time() - cpu


def measure(
    way: Callable[[str, Path, Path], Cost], server: Server, table: Path, results: Path
) -> Cost:
    """What one way takes, in a process of its own, on an empty Redis."""
    server.redis.delete(*server.redis.keys("celery-task-meta-*"), "")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(way, (server.url, table, results))


def compare(server: Server, table: Path, rounds: int, worker: str) -> float:
    """Print the rates of both ways in turn, and return the ratio of their medians."""
    images = sum(1 for _ in table.open()) - 1
    print(f"\nA worker with {worker}, {images:,} images:\n")
    print("| round | way | s | images/s | client's µs/image |\n|---|---|---|---|---|")
    rates: dict[str, list[float]] = {"by hand": [], "bulk run": []}
    for number in range(rounds):
        for name, way in (("by hand", by_hand), ("bulk run", by_run)):
            results = table.with_name(f"{worker} {name} {number}.jsonl")
            seconds, cpu_s = measure(way, server, table, results)
            rates[name].append(images / seconds)
            assert sum(1 for _ in results.open()) == images
            print(
                f"| {number + 1} | {name} | {seconds:,.1f} | {images / seconds:,.0f} "
                f"| {cpu_s / images * 1e6:,.0f} |",
                flush=True,
            )
    medians = {name: statistics.median(seen) for name, seen in rates.items()}
    ratio = medians["bulk run"] / medians["by hand"]
    print(f"\nThe bulk run has {ratio:.3f} of the rate by hand (medians).\n", flush=True)
    return ratio


def killed_run(server: Server, folder: Path, table: Path, images: int) -> list[float]:
    """Kill a run twice, let it finish, check its rows, and return samples of its memory in MiB."""
    results = folder / "killed.jsonl"
    command = [
        *(sys.executable, "-m", "worker.cli", "classify", "--from", str(table)),
        *("--to", str(results), "--labels", ",".join(LABELS), "--redis-url", server.url),
        *("--queue", QUEUE, "--journal", str(folder / "killed.journal")),
        *("--failures", str(folder / "killed.failures.jsonl")),
    ]
    samples: list[float] = []
    for kill in range(1, KILLS + 1):
        process = subprocess.Popen(command)
        enough = kill * images // (KILLS + 1)
        while process.poll() is None and rows_in(results) < enough:
            samples.append(memory_mib(process.pid))
            time.sleep(SAMPLE_S)
        process.kill()
        process.wait()
        print(f"Killed with {rows_in(results):,} lines in the file.", flush=True)
    process = subprocess.Popen(command)
    while process.poll() is None:
        samples.append(memory_mib(process.pid))
        time.sleep(SAMPLE_S)
    assert process.returncode == 0, process.returncode
    keys = Counter(json.loads(line)["image"] for line in results.open())
    assert len(keys) == images, f"{len(keys)} images have rows, of {images}"
    assert set(keys.values()) == {1}, keys.most_common(3)
    return [sample for sample in samples if sample]


def rows_in(results: Path) -> int:
    """How many lines a file has; 0 if it is not there."""
    return results.read_bytes().count(b"\n") if results.exists() else 0


def memory_mib(pid: int) -> float:
    """Resident memory of a process; 0 if it has ended."""
    try:
        return float(psutil.Process(pid).memory_info().rss / MIB)
    except psutil.NoSuchProcess:
        return 0.0


def write_pictures(folder: Path, images: int) -> Iterator[Path]:
    """Different JPEG files of 64x64 pixels, as they are asked for."""
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(images):
        colour = tuple((number // 40**place) % 40 * 6 for place in range(3))
        path = pictures / f"{number:06}.jpg"
        Image.linear_gradient("L").resize((64, 64)).convert("RGB").point(
            [min(255, value + shift) for shift in colour for value in range(256)]
        ).save(path)
        yield path


def write_table(path: Path, pictures: Iterable[Path]) -> Path:
    """A table of their URIs."""
    with path.open("w") as file:
        file.write("url\n")
        file.writelines(f"{picture.as_uri()}\n" for picture in pictures)
    return path


def first_rows(table: Path, images: int) -> Path:
    """A table of the first so many images of another one."""
    path = table.with_name(f"first {images}.csv")
    with table.open() as rows:
        path.write_text("".join(islice(rows, images + 1)))
    return path


@contextmanager
def running_worker(server: Server, app: str, pictures: Path, max_batch: int = 256) -> Iterator[int]:
    """A worker of an application, ready for tasks; the port of its metrics."""
    port = find_free_port()
    environment = {
        "CLIP_WORKER_REDIS_URL": server.url,
        "CLIP_WORKER_QUEUE": QUEUE,
        "CLIP_WORKER_MODEL": "demo",
        "CLIP_WORKER_MAX_BATCH": str(max_batch),
        "CLIP_WORKER_FILE_ROOTS": str(pictures),
        "CLIP_WORKER_METRICS_PORT": str(port),
    }
    command = ("-m", "celery", "-A", app, "worker", "--loglevel", "warning")
    with Program("the worker", command, environment) as program:
        wait_until(
            lambda: is_ready(port), program.check, every_s=0.5, what="the worker to be ready"
        )
        yield port


def main() -> int:
    """Run, and print; 1 if the rate is below 0.95 of that by hand."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--compared", type=int, default=4_000, help="images of a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine.sentence(machine.describe(("celery", "redis", "pydantic", "torch"))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = write_table(folder / "images.csv", write_pictures(folder, options.images))
        few = first_rows(table, options.compared)
        with Server() as server, running_worker(server, "worker", folder):
            ratio = compare(server, few, options.rounds, "the demo model")
            samples = killed_run(server, folder, table, options.images)
        few = first_rows(table, 4 * options.compared)
        with Server() as server, running_worker(server, "benchmarks.soak_app", folder):
            compare(server, few, options.rounds, "no work on pixels")
    half = len(samples) // 2
    print(
        f"{options.images:,} images, {KILLS} kills: each has one row. Memory of the client: "
        f"{max(samples[:half]):,.0f} MiB at most in the first half of the samples, "
        f"{max(samples[half:]):,.0f} in the second."
    )
    return int(ratio < 0.95)  # what is promised


if __name__ == "__main__":
    sys.exit(main())
