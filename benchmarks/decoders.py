"""What decoders cost, alone and with the resize to 224 pixels, and how exact they are.

    python benchmarks/decoders.py
    pip install --target FOLDER torchcodec && PYTHONPATH=FOLDER python benchmarks/decoders.py

torchcodec is in no extra of ours; without it its rows are missing. One thread. The ways take turns,
figures are medians of the processor time of an image. Every decoder's pixels are resized by the
worker's own code, and compared with exact mode's, in levels of 255. Memory is what the peak of a
new process grows by when it decodes one image.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench.pictures import LARGE, QUALITY, SMALL, TWELVE_MEGAPIXELS, Size, draw_picture
from clip_engine.images import geometry
from clip_engine.images.jpeg import decode_jpeg
from clip_engine.images.resample import resize_to_square
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import FAST_MARGIN, Preprocessor
from worker.preparation.allocator import return_freed

Pixels: TypeAlias = NDArray[np.uint8]  # [H, W, 3]
Decoded: TypeAlias = tuple[Pixels, geometry.Size]  # and what the image fills of them
Decode: TypeAlias = Callable[[bytes], Decoded]

TRANSFORM = ImageTransform(224)
TINY = Size("64x64", 64, 64, 1)
FILES: tuple[tuple[Size, str, dict[str, Any]], ...] = (
    (TINY, "JPEG", {}),
    (SMALL, "JPEG", {}),
    (SMALL, "JPEG", {"progressive": True}),
    (SMALL, "PNG", {}),
    (SMALL, "WEBP", {}),
    (LARGE, "JPEG", {}),
    (LARGE, "JPEG", {"progressive": True}),
    (TWELVE_MEGAPIXELS, "JPEG", {}),
)
SECONDS = 12.0  # for the ways of a file together
LEAST_ROUNDS, MOST_ROUNDS = 5, 40
MODULES = {"torchvision": "torchvision.io", "torchcodec": "torchcodec.decoders"}
PACKAGES = ("pillow", "simplejpeg", "torchvision", "torchcodec")


class Row(NamedTuple):
    """Milliseconds, megabytes and levels of a decoder for one file."""

    decode_ms: float
    both_ms: float
    memory_mb: float
    mean: float
    largest: float


def opened(data: bytes, *, draft: bool) -> tuple[Image.Image, geometry.Size]:
    """An image of Pillow's, not loaded, perhaps scaled by libjpeg as the worker asks for it."""
    image = Image.open(io.BytesIO(data))
    width, height = geometry.resized_size(image.size, TRANSFORM)
    scaled = image.draft(None, (FAST_MARGIN * width, FAST_MARGIN * height)) if draft else None
    return image, image.size if scaled is None else scaled[1][2:]


def by_pillow(data: bytes, *, draft: bool = False) -> Decoded:
    """All of it, or with libjpeg's scaling."""
    image, filled = opened(data, draft=draft)
    return np.array(image.convert("RGB")), filled


def as_the_worker(data: bytes) -> Decoded:
    """By simplejpeg at the scale of Pillow's `draft`: 1/2, 1/4 or 1/8."""
    image, filled = opened(data, draft=True)
    pixels = decode_jpeg(data, image)
    assert pixels is not None
    return pixels, filled


def in_eighths(data: bytes) -> Decoded:
    """By simplejpeg at any scale of libjpeg's that leaves twice the target: 3/8 and 5/8 too."""
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    across, down = geometry.resized_size((width, height), TRANSFORM)
    least = max(FAST_MARGIN * across / width, FAST_MARGIN * down / height)
    part = min(8, ceil(8 * least)) / 8
    pixels = simplejpeg.decode_jpeg(
        data, "RGB", min_height=ceil(height * part), min_width=ceil(width * part)
    )
    return pixels, (width * part, height * part)


def by_simplejpeg(data: bytes, *, quick: bool = False) -> Decoded:
    """All of it, perhaps with libjpeg's quick and coarse methods."""
    pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=quick, fastupsample=quick)
    return pixels, (pixels.shape[1], pixels.shape[0])


def by_torch(library: str, kind: str) -> Decode:
    """A decoder of torchvision's or torchcodec's."""
    module = importlib.import_module(MODULES[library])
    decode, mode = getattr(module, f"decode_{kind.lower()}"), module.ImageReadMode.RGB

    def run(data: bytes) -> Decoded:
        pixels = decode(torch.frombuffer(data, dtype=torch.uint8), mode=mode)
        return pixels.permute(1, 2, 0).numpy(), (pixels.shape[2], pixels.shape[1])

    return run


def decoders(kind: str) -> dict[str, Decode]:
    """Those of a format; the first is exact mode's."""
    found: dict[str, Decode] = {"Pillow": by_pillow}
    if kind == "JPEG":
        found |= {
            "Pillow, draft": partial(by_pillow, draft=True),
            "simplejpeg": by_simplejpeg,
            "simplejpeg, scaled (fast mode)": as_the_worker,
            "simplejpeg, scaled to eighths": in_eighths,
            "simplejpeg, fast DCT and upsampling": partial(by_simplejpeg, quick=True),
        }
    for library, module in MODULES.items():
        with suppress(ImportError):
            importlib.import_module(module)
            found[library] = by_torch(library, kind)
    return found


def resized(decoded: Decoded) -> torch.Tensor:
    """uint8 `[3, R, R]`, as fast mode resizes."""
    pixels, filled = decoded
    return resize_to_square(pixels, filled, geometry.place(filled, TRANSFORM), TRANSFORM)


def measure(data: bytes, kind: str) -> dict[str, Row]:
    """All decoders in turn."""
    exact = Preprocessor(TRANSFORM, "exact").from_bytes(data).float()
    found = decoders(kind)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    start = time.perf_counter()
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() - start > SECONDS:
            break
        for name, decode in found.items():
            begun = time.thread_time()
            decoded = decode(data)
            between = time.thread_time()
            resized(decoded)
            taken[name].append((between - begun, time.thread_time() - begun))
    rows = {}
    for name, decode in found.items():
        alone, both = (1000 * median(column) for column in zip(*taken[name], strict=True))
        off = (resized(decode(data)).float() - exact).abs()
        memory = peak_mb(partial(decode, data))
        rows[name] = Row(alone, both, memory, float(off.mean()), float(off.max()))
    return rows


def peak_mb(work: Callable[[], object]) -> float:
    """Megabytes by which the peak of a child process grows."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        return_freed()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
        before = _peak_kb()
        work()
        os.write(writer, str(_peak_kb() - before).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        return int(answer.read()) * 1024 / 1e6


def _peak_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def weight_mb(package: str) -> float:
    """Megabytes of an installed package's files."""
    files = importlib.metadata.files(package) or []
    return sum(Path(file.locate()).stat().st_size for file in files) / 1e6


def main() -> None:
    """Print the packages' sizes, then a table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # read-only bytes; torchvision's decoders are deprecated
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(package)
            print(f"{package} {version}: {weight_mb(package):.1f} MB")
    print("\n| file | decoder | decode, ms | decode and resize, ms | memory, MB | mean | largest |")
    print("| --- " * 7 + "|")
    for size, kind, options in FILES:
        file = io.BytesIO()
        draw_picture(size, 1).save(file, kind, quality=QUALITY, **options)
        name = f"{size.name} {kind}{', progressive' if options else ''}"
        for decoder, row in measure(file.getvalue(), kind).items():
            print(
                f"| {name} | {decoder} | {row.decode_ms:.2f} | {row.both_ms:.2f} "
                f"| {row.memory_mb:.1f} | {row.mean:.3f} | {row.largest:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
