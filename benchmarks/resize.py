"""What decoding and resizing a JPEG cost, with Pillow's resampling and with torch's.

    python benchmarks/resize.py

One thread, the pictures of `make bench`; the two take turns, figures are medians.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench.pictures import LARGE, SMALL, TWELVE_MEGAPIXELS, make_pictures
from clip_engine import preprocess
from clip_engine.preprocess import Preprocessor

ROUNDS = 40
RESOLUTION = 224
WAYS = {"Pillow": 0, "torch": preprocess.MOST_COPIED}  # pixels above which Pillow resizes


def measure(pictures: list[bytes]) -> dict[str, tuple[float, int]]:
    """For each way, milliseconds a picture, and the largest difference of the two, in levels."""
    prepare = Preprocessor(RESOLUTION, "fast").from_bytes
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    last: dict[str, torch.Tensor] = {}
    most = 0
    for number in range(ROUNDS):
        for name, pixels in WAYS.items():
            preprocess.MOST_COPIED = pixels
            start = time.perf_counter()
            last[name] = prepare(pictures[number % len(pictures)])
            seconds[name].append(time.perf_counter() - start)
        one, other = (tensor.int() for tensor in last.values())
        most = max(most, int((one - other).abs().max()))
    return {name: (1000 * median(taken), most) for name, taken in seconds.items()}


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print("| picture | with Pillow, ms | with torch, ms | times | largest difference, levels |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for shape in (SMALL, LARGE, TWELVE_MEGAPIXELS):
            pictures = [path.read_bytes() for path in make_pictures(shape, Path(folder))]
            found = measure(pictures)
            (pillow, most), (ours, _) = found["Pillow"], found["torch"]
            print(f"| {shape.name} | {pillow:.2f} | {ours:.2f} | {pillow / ours:.2f} | {most} |")


if __name__ == "__main__":
    main()
