"""The command line of `python -m benchmarks.int8_runtimes`."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import time
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import int8_runtimes
from benchmarks.bench import machine
from benchmarks.int8_runtimes.onnx_files import OnnxFiles, noise
from benchmarks.int8_runtimes.runtimes import Run, built
from clip_engine.model import CLIP, CLIPConfig

SIZES = (1, 8)
ROUNDS = 3
IMAGES = 8  # for the cosine
FULL = CLIPConfig(
    embed_dim=512,
    image_resolution=224,
    vision_layers=12,
    vision_width=768,
    vision_patch_size=32,
    transformer_width=64,  # the text tower is not run
    transformer_layers=1,
)
SMALL = CLIPConfig(
    embed_dim=64,
    image_resolution=64,
    vision_layers=2,
    vision_width=128,
    vision_patch_size=32,
    transformer_width=64,
    transformer_layers=1,
)


def main() -> None:
    """Measure and print a table."""
    quick = _options().quick
    config, rounds = (SMALL, 1) if quick else (FULL, ROUNDS)
    torch.set_num_threads(1)
    logging.getLogger().setLevel(logging.ERROR)  # ONNX Runtime's advice to prepare files further
    model = model_of(config)
    with TemporaryDirectory() as folder:
        files = OnnxFiles(model.visual, config.image_resolution, Path(folder))
        measured, missing = built(model, files)
        agreement = cosines(measured, config.image_resolution)
        costs = _costs(measured, config.image_resolution, rounds)
    print(f"{_machine()} One thread; medians of {rounds} rounds.\n")
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}")
    print(f"\n{table(costs, agreement)}")


def model_of(config: CLIPConfig) -> CLIP:
    """A model with random weights."""
    torch.manual_seed(0)
    return CLIP(config).eval().requires_grad_(requires_grad=False)


def cosines(runs: dict[str, Run], resolution: int) -> dict[str, float]:
    """Least cosine of each runtime's features to the first one's."""
    pixels = noise(IMAGES, resolution, seed=100)
    with torch.inference_mode():
        features = {
            name: functional.normalize(run(pixels).double(), dim=-1) for name, run in runs.items()
        }
    exact = next(iter(features.values()))
    return {name: float((each * exact).sum(dim=-1).min()) for name, each in features.items()}


def _costs(runs: dict[str, Run], resolution: int, rounds: int) -> dict[str, dict[int, float]]:
    """Milliseconds of processor time an image by batch size; the runtimes take turns."""
    batches = {size: noise(size, resolution, size) for size in SIZES}
    taken: dict[str, dict[int, list[float]]] = {name: {s: [] for s in SIZES} for name in runs}
    for _ in range(rounds + 1):  # the first one warms up
        for name, run in runs.items():
            for size, pixels in batches.items():
                taken[name][size].append(_cost_ms(run, pixels))
    return {
        name: {size: median(times[1:]) for size, times in by_size.items()}
        for name, by_size in taken.items()
    }


@torch.inference_mode()
def _cost_ms(run: Run, pixels: Tensor) -> float:
    repeats = 4 if len(pixels) == 1 else 1
    start = time.process_time()
    for _ in range(repeats):
        run(pixels)
    return 1000 * (time.process_time() - start) / (repeats * len(pixels))


def table(costs: dict[str, dict[int, float]], cosines: dict[str, float]) -> str:
    """A row a runtime, with its time as a part of the first one's."""
    exact = next(iter(costs.values()))
    heads = [f"batch of {size}: ms an image | of float32" for size in SIZES]
    lines = [
        f"| runtime | {' | '.join(heads)} | least cosine |",
        "| --- " * (2 + 2 * len(SIZES)) + "|",
    ]
    for name, by_size in costs.items():
        cells = [f"{ms:.1f} | {ms / exact[size]:.2f}" for size, ms in by_size.items()]
        lines.append(f"| {name} | {' | '.join(cells)} | {cosines[name]:.5f} |")
    return "\n".join(lines)


def _machine() -> str:
    installed = [n for n in ("onnxruntime", "openvino") if importlib.util.find_spec(n)]
    versions = {name: metadata.version(name) for name in ("torch", *installed)}
    return machine.sentence(machine.describe(tuple(versions)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.int8_runtimes",
        description=int8_runtimes.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a small tower and one round")
    return parser.parse_args()


if __name__ == "__main__":
    main()
