"""Whether the device computes what the CPU does in float32, and the same bits every time.

Axes: B images, D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.gpu.checkpoints import models
from benchmarks.gpu.engines import IN_FLIGHT, in_threads, load, noise, variant
from benchmarks.gpu.rankings import check_rankings
from benchmarks.gpu.report import Options, Report
from clip_engine.acceleration import PLAIN
from clip_engine.engine import Engine

LEAST_COSINE = 0.9999
BUCKETS = (1, 4, 16)
IMAGES = 16
PASSES = 5  # over all batches, of each thread
MODEL_S = 8.0  # about, of each model


def measure(options: Options, report: Report) -> None:
    """Check each model, then the rankings of the demo model."""
    if report.has_time("rankings of the demo model"):
        check_rankings(options, report)
    for name in models(quick=options.quick):
        if report.has_time(name, MODEL_S if options.cuda else 0.0):
            _check_model(name, options, report)


def _check_model(name: str, options: Options, report: Report) -> None:
    loaded = load(name, options)
    engine = variant(loaded, buckets=BUCKETS)
    engine.warm()
    pixels = noise(engine, IMAGES)
    reference = load(name, options, device="cpu", precision="float32", acceleration=PLAIN)
    expected = reference.encode_pixels(pixels)
    found = engine.encode_pixels(pixels)
    title = f"{name}, {engine.model.precision}"
    cosine = check_features(f"{title} against float32 on the CPU", found, expected, report)
    report.row(f"{title}: least cosine to float32 on the CPU", f"{cosine:.6f}")
    plain = variant(loaded, buckets=BUCKETS, cuda_graphs=False, pinned_upload=False)
    check_features(
        f"{title}, with CUDA graphs against without",
        found,
        plain.encode_pixels(pixels),
        report,
        remark="" if options.cuda else "; on a CPU no graph is recorded",
    )
    _check_repeated(title, engine, pixels, report)
    _check_threads(title, engine, report)


def check_features(
    what: str, found: Tensor, expected: Tensor, report: Report, *, remark: str = ""
) -> float:
    """Check features `[B, D]` against others of the same images; the least cosine.

    Random weights give all images similar features, so besides its cosine each feature must be
    nearest to that of its own image.
    """
    cosines = found @ expected.T  # [B, B]
    least = float(cosines.diagonal().min())
    nearest = cosines.argmax(dim=1)
    own = int((nearest == torch.arange(len(found))).sum())
    passed = least >= LEAST_COSINE and own == len(found)  # not so if it is NaN
    report.check(
        what,
        passed=passed,
        found=f"least cosine {least:.7f} (at least {LEAST_COSINE}), {own} of {len(found)} nearest "
        f"to their own{remark}",
    )
    report.record(f"{what}: least cosine", least)
    return least


def _check_repeated(title: str, engine: Engine, pixels: list[Tensor], report: Report) -> None:
    """The same batch three times; then its first image with other neighbours."""
    first = engine.encode_pixels(pixels)
    again = [engine.encode_pixels(pixels) for _ in range(2)]
    same = all(torch.equal(first, other) for other in again)
    report.check(f"{title}, the same batch again", passed=same, found=_bits(same))
    others = noise(engine, IMAGES - 1, seed=1)
    beside = engine.encode_pixels([pixels[0], *others])[0]
    same = torch.equal(beside, first[0])
    report.check(f"{title}, an image with other neighbours", passed=same, found=_bits(same))


def _check_threads(title: str, engine: Engine, report: Report) -> None:
    """As many threads as batches may be in flight, against one."""
    sizes = (IMAGES, 3, 1, 2 * IMAGES + 1)
    batches = [
        [noise(engine, size, seed=10 * thread + i) for i, size in enumerate(sizes)]
        for thread in range(IN_FLIGHT)
    ]
    alone = [[engine.encode_pixels(batch) for batch in own] for own in batches]
    differ = [0] * IN_FLIGHT

    def run(thread: int) -> None:
        for _ in range(PASSES):
            for batch, expected in zip(batches[thread], alone[thread], strict=True):
                differ[thread] += not torch.equal(engine.encode_pixels(batch), expected)

    in_threads(IN_FLIGHT, run)
    total = IN_FLIGHT * PASSES * len(sizes)
    report.check(
        f"{title}, {IN_FLIGHT} threads against one",
        passed=not any(differ),
        found=f"{total - sum(differ)} of {total} batches the same bits",
    )


def _bits(same: bool) -> str:  # noqa: FBT001  # what it puts into words
    return "the same bits" if same else "other bits"
