"""Where the time of a batch goes: gather, upload, forward pass, copy back.

Each part is measured alone, between two waits for the device, so that parts that overlap in an
engine add up to more than its whole call.
Axes: B images, R pixels a side, D embedding.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from benchmarks.gpu.engines import load, noise, synchronize, variant
from benchmarks.gpu.report import Options, Report
from clip_engine.engine import Engine

NAMES = ("ViT-B/32", "ViT-L/14")
SIZES = (32, 256)
QUICK_SIZES = (4,)
ROUNDS = 20
PARTS = ("gather into page-locked memory", "upload", "forward pass without a graph", "copy back")
WHOLE = "the whole call"


def measure(options: Options, report: Report) -> None:
    """Milliseconds of each part, for a small and a large batch."""
    for name in NAMES[:1] if options.quick or not options.cuda else NAMES:
        if not report.has_time(name):
            return
        loaded = load(name, options)
        for size in QUICK_SIZES if options.quick else SIZES[: 2 if options.cuda else 1]:
            engine = variant(loaded, buckets=(size,))
            engine.warm()
            found = parts(engine, size, options)
            report.record(f"{name}, batches of {size}", found)
            shown = ", ".join(f"{part} {ms:.2f} ms" for part, ms in found.items())
            report.say(f"{name}, batches of {size}: {shown}")
            report.row(f"{name}, batches of {size}", shown)


@torch.inference_mode()
def parts(engine: Engine, size: int, options: Options) -> dict[str, float]:
    """Milliseconds of each part, medians."""
    pixels = noise(engine, size)  # B of [3, R, R]
    staged = torch.empty((size, *pixels[0].shape), dtype=torch.uint8, pin_memory=options.cuda)
    uploaded = torch.stack(pixels).to(options.device)  # [B, 3, R, R]
    features = engine.model.encode_image(_normalised(engine, uploaded))  # [B, D]
    steps: list[Callable[[], object]] = [
        lambda: torch.stack(pixels, out=staged),
        lambda: staged.to(options.device, non_blocking=True, copy=True),
        lambda: engine.model.encode_image(_normalised(engine, uploaded)),
        lambda: functional.normalize(features.float(), dim=-1).cpu(),
        lambda: engine.encode_pixels(pixels),
    ]
    rounds = ROUNDS if options.cuda else 2
    return {
        name: _milliseconds(step, rounds, options.device)
        for name, step in zip((*PARTS, WHOLE), steps, strict=True)
    }


def _normalised(engine: Engine, pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (
        torch.tensor(values, device=pixels.device).view(3, 1, 1)
        for values in (engine.model.normalisation.mean, engine.model.normalisation.std)
    )
    return (pixels.float() / 255 - mean) / std


def _milliseconds(step: Callable[[], object], rounds: int, device: str) -> float:
    times = []
    for _ in range(rounds + 1):
        synchronize(device)
        start = time.perf_counter()
        step()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])
