"""What an engine does when memory runs out, when the device is lost, and beside another engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.checkpoints import models
from benchmarks.gpu.correctness import LEAST_COSINE
from benchmarks.gpu.engines import in_threads, load, noise, variant
from benchmarks.gpu.report import Options, Report
from clip_engine.dual_encoder import DualEncoder
from clip_engine.engine import Engine
from clip_engine.errors import DeviceLostError

NAME = "ViT-B/32"
LARGEST = 512
QUICK_LARGEST = 8
FITTING = 2  # images that still fit where running out of memory is simulated
HEADROOM_BYTES = 256 * 2**20  # left to an engine that is to run out of memory
PASSES = 5
LOST = "CUDA error: unspecified launch failure"


def measure(options: Options, report: Report) -> None:
    """Each fault on an engine of its own; the real one last, because it may leave traces."""
    engine = load(NAME, options)
    _check_two_engines(engine, options, report)
    _check_device_loss(engine, report)
    _check_simulated_memory(engine, options, report)
    if options.cuda:
        check_memory(engine, options, report)


class FailingEncoder:
    """A model whose forward pass of images may raise.

    Args:
        model: For everything else.
        fail: Called with each batch before it is encoded.
    """

    def __init__(self, model: DualEncoder, fail: Callable[[Tensor], None]) -> None:
        self._model = model
        self._fail = fail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """As the model's, unless it fails."""
        self._fail(pixels)
        return self._model.encode_image(pixels)


def _check_two_engines(engine: Engine, options: Options, report: Report) -> None:
    """Two engines of different models on one device, each in a thread, against each alone."""
    engines = [engine, load(list(models(quick=options.quick))[-1], options)]
    for one in engines:
        one.warm()
    batches = [noise(one, 16) for one in engines]
    alone = [one.encode_pixels(batch) for one, batch in zip(engines, batches, strict=True)]
    same = [0, 0]

    def run(number: int) -> None:
        for _ in range(PASSES):
            features = engines[number].encode_pixels(batches[number])
            same[number] += torch.equal(features, alone[number])

    in_threads(len(engines), run)
    report.check(
        "two engines on one device",
        passed=sum(same) == PASSES * len(engines),
        found=f"{sum(same)} of {PASSES * len(engines)} batches the same bits as alone",
    )


def _check_device_loss(engine: Engine, report: Report) -> None:
    """Torch's error of a lost device, raised by the forward pass."""
    kind: Any = getattr(torch, "AcceleratorError", RuntimeError)

    def fail(_: Tensor) -> None:
        raise kind(LOST)

    broken = variant(engine, buckets=(1,), model=FailingEncoder(engine.model, fail))
    try:
        broken.encode_pixels(noise(engine, 1))
        found = "no error"
    except Exception as error:  # noqa: BLE001  # which one is what is checked
        found = f"{type(error).__name__}: {error}"
    report.check(
        f"device loss (simulated by {kind.__name__})",
        passed=found.startswith(DeviceLostError.__name__),
        found=found,
    )


def _check_simulated_memory(engine: Engine, options: Options, report: Report) -> None:
    """Torch's error of exhausted memory, raised for batches above some size."""

    def fail(pixels: Tensor) -> None:
        if len(pixels) > FITTING:
            raise torch.OutOfMemoryError("CUDA out of memory")

    largest = _largest(options)
    small = variant(engine, buckets=(1, FITTING, largest), model=FailingEncoder(engine.model, fail))
    _check_shrinks("out of memory (simulated)", small, engine, options, report)


def check_memory(engine: Engine, options: Options, report: Report) -> None:
    """The device's memory limited to little more than the process holds."""
    largest = _largest(options)
    plain = variant(engine, buckets=(1, FITTING, largest), cuda_graphs=False)
    expected = engine.encode_pixels(noise(engine, 1))
    torch.cuda.empty_cache()
    index = torch.device(options.device).index or 0  # which torch wants for the limit
    _, total = torch.cuda.mem_get_info(index)
    allowed = torch.cuda.memory_reserved(index) + HEADROOM_BYTES
    torch.cuda.set_per_process_memory_fraction(allowed / total, index)
    try:
        _check_shrinks("out of memory (limited)", plain, engine, options, report)
        again = plain.encode_pixels(noise(engine, 1))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, index)
    cosine = float((again * expected).sum())
    report.check(
        "an image after running out of memory",
        passed=cosine >= LEAST_COSINE,
        found=f"cosine {cosine:.6f} to before",
    )


def _check_shrinks(
    what: str, small: Engine, engine: Engine, options: Options, report: Report
) -> None:
    """A batch of the largest size is answered, rightly, and the limit is lower afterwards."""
    largest = _largest(options)
    pixels = noise(engine, largest)
    found = small.encode_pixels(pixels)
    part = slice(0, min(largest, 32))
    cosines = (found[part] * engine.encode_pixels(pixels[part])).sum(dim=-1)
    report.check(
        what,
        passed=small.max_batch < largest and float(cosines.min()) >= LEAST_COSINE,
        found=f"the limit fell from {largest} to {small.max_batch}; least cosine "
        f"{float(cosines.min()):.6f}",
    )


def _largest(options: Options) -> int:
    return QUICK_LARGEST if options.quick or not options.cuda else LARGEST
