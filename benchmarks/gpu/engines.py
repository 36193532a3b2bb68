"""Engines of a run: loaded from its checkpoints, with other batch sizes, on noise."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.checkpoints import checkpoint
from benchmarks.gpu.report import Options
from clip_engine import load_engine
from clip_engine.acceleration import Acceleration
from clip_engine.dual_encoder import DualEncoder
from clip_engine.engine import Engine
from clip_engine.precision import Precision

IN_FLIGHT = 2  # batches at the same time on a GPU


def load(
    name: str,
    options: Options,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    acceleration: Acceleration | None = None,
) -> Engine:
    """A model's engine; not warm, and by default on the run's device."""
    return load_engine(
        str(checkpoint(name, options.folder, quick=options.quick)),
        device=device or options.device,
        precision=precision,
        acceleration=acceleration,
        replicas=IN_FLIGHT,
    )


def variant(
    engine: Engine,
    *,
    buckets: Sequence[int] | None = None,
    model: DualEncoder | None = None,
    **accelerations: bool,
) -> Engine:
    """An engine on the same weights.

    Args:
        engine: Whose weights.
        buckets: Batch sizes instead of its own.
        model: Instead of its own: a wrapper of it.
        accelerations: Those around the model that differ, such as `cuda_graphs=False`.
    """
    return Engine(
        model or engine.model,
        identity=engine.identity,
        preprocessor=engine.preprocessor,
        buckets=engine.buckets if buckets is None else buckets,
        acceleration=dataclasses.replace(engine.acceleration, **accelerations),
        replicas=IN_FLIGHT,
    )


def known(**accelerations: bool) -> Acceleration | None:
    """These accelerations and the defaults of all others; None if this version lacks one."""
    if set(accelerations) <= set(Acceleration.names()):
        return Acceleration(**accelerations)
    return None


def noise(engine: Engine, count: int, seed: int = 0) -> list[Tensor]:
    """Images of random pixels with coarse structure, so that they differ in more than grain."""
    side = engine.preprocessor.transform.resolution
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    cell = -(-side // 8)
    wide = coarse.repeat_interleave(cell, 2).repeat_interleave(cell, 3)[:, :, :side, :side]
    grain = torch.randint(64, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return list((wide // 4 * 3) + grain)


def images_per_s(engine: Engine, size: int, seconds: float, threads: int = 1) -> float:
    """Rate of `encode_pixels` on batches of one size, from the CPU and back.

    Args:
        engine: Warm.
        size: Images a batch.
        seconds: How long each thread goes on, about; at least one batch.
        threads: That encode at the same time, each its own batches.
    """
    pixels = noise(engine, size)
    engine.encode_pixels(pixels)
    counts = [0] * threads
    end = time.perf_counter() + seconds

    def run(thread: int) -> None:
        while not counts[thread] or time.perf_counter() < end:
            engine.encode_pixels(pixels)
            counts[thread] += size

    start = time.perf_counter()
    in_threads(threads, run)
    return sum(counts) / (time.perf_counter() - start)


def in_threads(threads: int, run: Callable[[int], Any]) -> None:
    """Call a function in so many threads at once, with each one's number.

    Raises:
        Exception: The first that one of them raised.
    """
    errors: list[Exception] = []

    def guarded(thread: int) -> None:
        try:
            run(thread)
        except Exception as error:  # noqa: BLE001  # raised below, in the caller's thread
            errors.append(error)

    started = [threading.Thread(target=guarded, args=(number,)) for number in range(threads)]
    for one in started:
        one.start()
    for one in started:
        one.join()
    if errors:
        raise errors[0]


def free_memory() -> None:
    """Free what engines that are no longer used hold: graphs and buffers are in cycles."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing without CUDA


def synchronize(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
