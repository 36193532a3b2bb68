"""What decoding and resizing a JPEG cost with Pillow, with torch's resampling, and with simplejpeg.

    python benchmarks/resize.py

One thread, the images of `make bench`, in fast mode; the ways take turns, figures are medians of
the processor time of an image, and of the ratios within a round.
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
from clip_engine.images import jpeg
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor

ROUNDS = 40
RESOLUTION = 224
# Pixels above which Pillow resizes, and what decodes.
WAYS = {
    "Pillow": (0, None),
    "torch": (preprocess.MOST_COPIED, None),
    "torch and simplejpeg": (preprocess.MOST_COPIED, jpeg.simplejpeg),
}


def measure(images: list[bytes]) -> tuple[dict[str, list[float]], int]:
    """For each way, milliseconds of each round; and the largest difference of pixels, in levels."""
    prepare = Preprocessor(ImageTransform(RESOLUTION), "fast").from_bytes
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    most = 0
    for number in range(ROUNDS):
        pixels = []
        for name, (preprocess.MOST_COPIED, jpeg.simplejpeg) in WAYS.items():
            start = time.thread_time()
            pixels.append(prepare(images[number % len(images)]).int())
            taken[name].append(1000 * (time.thread_time() - start))
        most = max(most, *(int((each - pixels[0]).abs().max()) for each in pixels))
    return taken, most


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    ratios = " | ".join(f"Pillow / {name}" for name in list(WAYS)[1:])
    print("| image | " + " | ".join(f"{name}, ms" for name in WAYS) + f" | {ratios} | levels |")
    print("| --- " * (2 * len(WAYS) + 1) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for shape in (SMALL, LARGE, TWELVE_MEGAPIXELS):
            images = [path.read_bytes() for path in make_pictures(shape, Path(folder))]
            taken, most = measure(images)
            first, *others = taken.values()
            cells = [f"{median(each):.2f}" for each in taken.values()]
            cells += [
                f"{median(a / b for a, b in zip(first, each, strict=True)):.2f}" for each in others
            ]
            print(f"| {shape.name} | {' | '.join(cells)} | {most} |")


if __name__ == "__main__":
    main()
