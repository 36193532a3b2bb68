"""What the preparation pool costs: processor time an image here and in the processes, and latency.

    python benchmarks/preparation.py

JPEGs of three sizes, handed over as bytes, in messages of 1 and of 16 images; then one image at a
time on an idle pool. Figures are medians of the rounds of one run.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clip_engine.images.transform import ImageTransform
from worker.preparation import (
    ImageRequest,
    PreparationPool,
    PreparationSettings,
    PreparedImage,
    image_queue,
)

ROUNDS = 3
SIZES = {(64, 64): 3000, (500, 375): 400, (1920, 1280): 60}  # and how many a round
ALONE = 300
URI = "redis://uploads/benchmark"


class Counter:
    """Gives slots back, and tells when all images are there."""

    def __init__(self) -> None:
        cores = len(os.sched_getaffinity(0))
        settings = PreparationSettings(ImageTransform(224), processes=cores, slots=512)
        self.pool = PreparationPool(settings, self._take)
        self._left = 0
        self._done = threading.Event()

    def _take(self, prepared: Sequence[PreparedImage]) -> None:
        self.pool.release([each.slot for each in prepared if each.slot is not None])
        self._left -= len(prepared)
        if not self._left:
            self._done.set()

    def run(self, data: bytes, count: int) -> float:
        """Have an image prepared many times; gives seconds."""
        self._left = count
        self._done.clear()
        requests = [ImageRequest(key, URI, data) for key in range(count)]
        start = time.perf_counter()
        self.pool.submit(requests)
        self._done.wait()
        return time.perf_counter() - start

    def processes_s(self) -> float:
        """Processor time that the processes have used."""
        pids = [each["pid"] for each in self.pool.stats()["processes"]]  # type: ignore[attr-defined]
        ticks = os.sysconf("SC_CLK_TCK")
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(each[11]) + int(each[12]) for each in fields) / ticks


def jpeg(size: tuple[int, int]) -> bytes:
    """A smooth image with some noise, as a file."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = pixels + rng.integers(-12, 12, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def main() -> None:
    """Print a table."""
    counter = Counter()
    counter.pool.start()
    if not counter.pool.wait_until_ready(60):
        sys.exit("No process was started within 60 s.")
    print(
        "| image | a message | images/s | here, µs each | in processes, µs each "
        "| images/s of a core that only prepares |"
    )
    print("| --- " * 6 + "|")
    for size, count in SIZES.items():
        data = jpeg(size)
        rows: dict[int, list[tuple[float, float, float]]] = {1: [], 16: []}
        counter.run(data, count)
        for _ in range(ROUNDS):
            for chunk, row in rows.items():
                image_queue.CHUNK = chunk
                here, there = time.process_time(), counter.processes_s()
                wall_s = counter.run(data, count)
                here, there = time.process_time() - here, counter.processes_s() - there
                row.append((count / wall_s, 1e6 * here / count, 1e6 * there / count))
        for chunk, row in rows.items():
            rate, ours, theirs = (median(column) for column in zip(*row, strict=True))
            print(
                f"| {size[0]}x{size[1]} | {chunk} | {rate:.0f} | {ours:.0f} | {theirs:.0f} "
                f"| {1e6 / theirs:.0f} |"
            )
    data = jpeg((64, 64))
    alone = sorted(counter.run(data, 1) for _ in range(ALONE))
    usual, best = 1000 * alone[ALONE // 2], 1000 * alone[ALONE // 20]
    print(f"\none 64x64 image at a time: {usual:.2f} ms, the best twentieth {best:.2f} ms")
    counter.pool.stop(5)


if __name__ == "__main__":
    main()
