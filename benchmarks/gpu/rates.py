"""The rate of a device's matrix products: what an encoder can at most reach."""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.gpu.engines import synchronize
from benchmarks.gpu.report import Options
from clip_engine.weights.known import known_models

WARM_UP = 3
ROUNDS = 10


def matrix_rate(options: Options, precision: str, side: int | None = None) -> float:
    """Operations a second of a product of two square matrices, the median of ten.

    Args:
        options: Of the run.
        precision: Of the matrices, such as `float16`.
        side: Rows of each; None for what fills the device.
    """
    side = side or (8192 if options.cuda else 256 if options.quick else 1024)
    a, b = (
        torch.randn(side, side, device=options.device).to(getattr(torch, precision))
        for _ in range(2)
    )
    times = []
    for number in range(WARM_UP + ROUNDS):
        synchronize(options.device)
        start = time.perf_counter()
        torch.mm(a, b)
        synchronize(options.device)
        if number >= WARM_UP:
            times.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(times)


def image_operations(name: str) -> float:
    """Operations of one image in a published model's image tower."""
    return next(model.image_gflops for model in known_models() if model.name == name) * 1e9
