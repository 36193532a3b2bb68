"""What images that are made to cost much do to a worker with shipped settings.

    .venv/bin/python -W ignore benchmarks/hostile_images.py            (two minutes)

The images of `tests/support/hostile_images.py`, one after the other: how each ends, how long that
takes, how long small images wait meanwhile, and how much memory all processes of the worker take on
top of what they take when idle. Real worker, demo model, a Redis of its own. Bias: the small images
come one at a time, so none waits for another; memory is sampled.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import PIL
import psutil
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.hostile_images import LARGE, REFUSED
from support.redis_server import NO_SERVER, RedisServer, find_executable
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.errors import ClipWorkerError

LABELS = ["red square", "blue circle"]
LIMIT_S = 120.0
WARM_UP = 5
MB = 1_000_000


class Beside:
    """Small images that are classified, and memory that is read, while it is entered."""

    def __init__(self, client: Client, uri: str, pid: int) -> None:
        self.longest_s = 0.0
        self.answered = 0
        self.peak_bytes = 0
        self._client, self._uri, self._pid = client, uri, pid
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._ask, self._look)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._ending.is_set():
            self.longest_s = max(self.longest_s, seconds_and_end(self._client, self._uri)[0])
            self.answered += 1

    def _look(self) -> None:
        while not self._ending.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, memory_bytes(self._pid))


def seconds_and_end(client: Client, uri: str) -> tuple[float, str]:
    """How long a task takes, and how it ends."""
    start = time.perf_counter()
    try:
        client.classify(uri, LABELS).get(LIMIT_S)
        end = "answered"
    except ClipWorkerError as error:
        end = str(error.code)
    return time.perf_counter() - start, end


def memory_bytes(pid: int) -> int:
    """What a worker's processes have to themselves, together."""
    total = 0
    for each in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            total += each.memory_full_info().uss
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def worker() -> Iterator[tuple[Client, Path, WorkerProcess]]:
    """A worker, a client of it, and a folder that the worker may read."""
    executable = find_executable()
    if executable is None:
        raise SystemExit(NO_SERVER)
    with (
        tempfile.TemporaryDirectory() as name,
        RedisServer(executable) as server,
        Client(server.url) as client,
        WorkerProcess(server.url, Path(name)) as process,
    ):
        yield client, Path(name), process


def main() -> None:
    """Print a table."""
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}, "
        f"Pillow {PIL.__version__}\n"
    )
    rows = [("image", "bytes", "ends with", "after, s", "longest of others, s", "memory, MB")]
    rows.append(("---",) * 6)
    with worker() as (client, folder, process):
        pid = process.running.pid
        small = folder / "small.jpg"
        Image.new("RGB", (64, 48), "teal").save(small)
        for _ in range(WARM_UP):
            seconds_and_end(client, small.as_uri())
        for name, make in (REFUSED | LARGE).items():
            file = folder / "hostile"
            file.write_bytes(make())
            idle_bytes = memory_bytes(pid)
            with Beside(client, small.as_uri(), pid) as beside:
                seconds, end = seconds_and_end(client, file.as_uri())
            taken = max(0, beside.peak_bytes - idle_bytes) / MB
            rows.append(
                (name, f"{file.stat().st_size:,}", end, f"{seconds:.1f}",
                 f"{beside.longest_s:.2f} ({beside.answered})", f"{taken:,.0f}")
            )  # fmt: skip
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
        same = (process.running.pid, process.running.poll()) == (pid, None)
        print(f"\nthe model's process is {'the same' if same else 'another'} as before")


if __name__ == "__main__":
    main()
