"""What uploads and results leave in Redis: its memory and keys before, meanwhile and after.

    .venv/bin/python -W ignore benchmarks/redis_memory.py [IMAGES] [--keep]

Small JPEGs, all different, are uploaded and classified by `classify_many` through one real worker
with the demo model, on a Redis of its own without persistence. 5,000 by default, which take half a
minute; with `--keep` uploads and results are kept, as they would be for a day. Redis is warmed up
with a hundredth as many images first, so that the worker's own keys and buffers are there. What is
left is read a second after the last outcome.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import redis
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.redis_server import NO_SERVER, RedisServer, find_executable
from support.worker_process import WorkerProcess

from clip_worker import Client

IMAGES = 5_000
LABELS = ["red square", "blue circle", "green triangle"]
SIDE = 64
LOOK_EVERY = 500  # outcomes
LIMIT_S = 120.0


def picture(generator: np.random.Generator) -> bytes:
    """A JPEG of about 2 kB, unlike all others."""
    blocks = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


class Run:
    """Images that are uploaded and classified, and what Redis holds of them.

    Attributes:
        sent_bytes: Of all images.
        peak_bytes: The most memory that Redis used.
        peak_keys: The most keys that it held.
    """

    def __init__(self, client: Client, server: redis.Redis, *, keep: bool) -> None:
        self.sent_bytes = self.peak_bytes = self.peak_keys = 0
        self._client, self._server, self._keep = client, server, keep
        self._generator = np.random.default_rng(12)

    def classify(self, count: int) -> int:
        """Classify so many images; how many failed."""
        failed = 0
        outcomes = self._client.classify_many(
            self._uris(count), LABELS, timeout=LIMIT_S, keep_results=self._keep
        )
        for number, (_, outcome) in enumerate(outcomes):
            failed += outcome.error is not None
            if number % LOOK_EVERY == 0:
                self.peak_bytes = max(self.peak_bytes, used_bytes(self._server))
                self.peak_keys = max(self.peak_keys, self._server.dbsize())
        return failed

    def _uris(self, count: int) -> Iterator[str]:
        for _ in range(count):
            data = picture(self._generator)
            self.sent_bytes += len(data)
            yield self._client.upload(data, keep=self._keep)


def used_bytes(server: redis.Redis) -> int:
    """Memory that Redis has allocated."""
    return int(server.info("memory")["used_memory"])


def row(what: str, server: redis.Redis) -> str:
    """A line about what Redis holds now."""
    return f"{what:10} {used_bytes(server) / 1e6:8.2f} MB {server.dbsize():9,} keys"


def measure(url: str, count: int, *, keep: bool) -> None:
    """Classify so many images on a Redis with a worker, and print what it holds."""
    with redis.Redis.from_url(url) as server, Client(url) as client:
        Run(client, server, keep=False).classify(max(1, count // 100))
        time.sleep(1)
        print(row("before", server))
        run, start = Run(client, server, keep=keep), time.perf_counter()
        failed = run.classify(count)
        seconds = time.perf_counter() - start
        time.sleep(1)
        print(f"{'at most':10} {run.peak_bytes / 1e6:8.2f} MB {run.peak_keys:9,} keys")
        print(row("after", server))
        print(
            f"{count:,} images, {run.sent_bytes / 1e6:.0f} MB, {failed} failed, in {seconds:.0f} s"
        )


def main() -> None:
    """Start Redis and a worker, and measure."""
    arguments = [each for each in sys.argv[1:] if each != "--keep"]
    executable = find_executable()
    if executable is None:
        raise SystemExit(NO_SERVER)
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(executable) as server,
        WorkerProcess(server.url, Path(folder)),
    ):
        count = int(arguments[0]) if arguments else IMAGES
        measure(server.url, count, keep="--keep" in sys.argv)


if __name__ == "__main__":
    main()
