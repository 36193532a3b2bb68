"""What lower precision of the image tower changes: features, probabilities, speed.

    python benchmarks/precision.py               (int8 and bfloat16)
    python benchmarks/precision.py float16       (what GPUs run; a CPU takes many minutes for it)

The demo model has trained weights, so its probabilities mean something; the published architectures
have random ones here, so for these only the features and the speed do.
"""

from __future__ import annotations

import copy
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from benchmarks.bench import machine
from clip_engine import Engine, load_engine
from clip_engine.acceleration import Acceleration
from clip_engine.acceleration.options import accelerate
from clip_engine.demo.world.draw import draw_scene  # scripts'
from clip_engine.demo.world.scenes import all_scenes
from clip_engine.model import CLIP, CLIPConfig
from clip_engine.precision import Precision

ROUNDS = 3
BATCH = 8
PICTURES = 512
USUAL: tuple[Precision, ...] = ("int8", "bfloat16")
BFLOAT16 = ("avx512_bf16", "amx_bf16")
COLOURS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
SHAPES = ["circle", "square", "triangle", "star", "heart", "cross", "diamond", "moon"]
LABELS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
TEXT = {"transformer_width": 64, "transformer_layers": 1}  # not run
TOWERS = {
    "ViT-B/32": CLIPConfig(
        embed_dim=512,
        image_resolution=224,
        vision_layers=12,
        vision_width=768,
        vision_patch_size=32,
        **TEXT,
    ),
    "RN50": CLIPConfig(
        embed_dim=1024,
        image_resolution=224,
        vision_layers=(3, 4, 6, 3),
        vision_width=64,
        vision_patch_size=None,
        **TEXT,
    ),
}


@dataclass(frozen=True)
class Row:
    """One precision of one tower against float32."""

    cosine: float
    probability: str
    agreement: str
    seconds: float | None


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)  # as each replica of a worker has; several would wait for each other
    print(machine.sentence(machine.describe(("torch",))))
    print(f"One thread, batches of {BATCH}, medians of {ROUNDS} rounds.\n")
    print(
        "| tower | precision | least cosine | most change of a probability, 99th percentile", end=""
    )
    print(" | top-1, top-5 the same | time |")
    print("|---|---|---|---|---|---|")
    precisions = ("float32", *(sys.argv[1:] or USUAL))
    for name, rows in demo_rows(precisions).items():
        show(name, rows)
    for name, config in TOWERS.items():
        show(name, tower_rows(config, precisions))


def show(name: str, rows: dict[Precision, Row]) -> None:
    """Print the rows of one tower."""
    exact_s = rows["float32"].seconds
    for precision, row in rows.items():
        time_ = f"{row.seconds / exact_s:.2f}" if row.seconds and exact_s else ""
        cells = f"{row.cosine:.7f} | {row.probability} | {row.agreement} | {time_}"
        print(f"| {name} | {precision} | {cells} |", flush=True)


def worth_timing(precision: Precision) -> bool:
    """Whether this processor may be fast in it: no CPU is in float16, few are in bfloat16."""
    fast_bfloat16 = not set(BFLOAT16).isdisjoint(machine.flags())
    return precision in {"float32", "int8"} or (precision == "bfloat16" and fast_bfloat16)


def demo_rows(precisions: Sequence[Precision]) -> dict[str, dict[Precision, Row]]:
    """The trained model on images of its world, against wrong labels only and against all labels.

    With the right label among them nearly every probability is near 0 or 1, and hardly anything
    could change it.
    """
    engines = {p: load_engine("demo", precision=p, buckets=(BATCH,)) for p in precisions}
    scenes = random.Random(0).sample(list(all_scenes()), PICTURES)
    size = (engines["float32"].preprocessor.transform.resolution,) * 2
    pixels = [engines["float32"].prepare(draw_scene(s, size, seed=i)) for i, s in enumerate(scenes)]
    features = {p: engine.encode_pixels(pixels) for p, engine in engines.items()}
    few = pixels[:BATCH]
    seconds = timed(
        {p: partial(engines[p].encode_pixels, few) for p in filter(worth_timing, precisions)}
    )
    right = [LABELS.index(f"{scene.colour} {scene.shape}") for scene in scenes]
    found = {p: logits(engine, features[p]) for p, engine in engines.items()}
    wrong = {
        p: each.scatter(1, torch.tensor(right)[:, None], -torch.inf) for p, each in found.items()
    }
    return {
        f"demo, {name}": {
            p: Row(
                least_cosine(features[p], features["float32"]),
                *compared(each[p].softmax(dim=-1), each["float32"].softmax(dim=-1)),
                seconds.get(p),
            )
            for p in precisions
        }
        for name, each in {"wrong labels": wrong, "all labels": found}.items()
    }


def tower_rows(config: CLIPConfig, precisions: Sequence[Precision]) -> dict[Precision, Row]:
    """A published architecture with random weights on noise."""
    torch.manual_seed(0)
    model = CLIP(config).eval().requires_grad_(requires_grad=False)
    for name, weight in model.visual.named_parameters():
        if name.endswith("bn3.weight"):
            weight.uniform_(0.5, 1.0)
    towers = {p: tower_in(copy.deepcopy(model), p) for p in precisions}
    pixels = torch.randn(BATCH, 3, config.image_resolution, config.image_resolution)
    with torch.inference_mode():
        features = {p: functional.normalize(t(pixels).float(), dim=-1) for p, t in towers.items()}
        seconds = timed({p: partial(towers[p], pixels) for p in filter(worth_timing, precisions)})
    exact = features["float32"]
    return {p: Row(least_cosine(features[p], exact), "", "", seconds.get(p)) for p in precisions}


def tower_in(model: CLIP, precision: Precision) -> nn.Module:
    """The image tower as a worker runs it in this precision."""
    accelerate(model, Acceleration(), precision)
    return model.visual


def logits(engine: Engine, features: Tensor) -> Tensor:
    """Of all labels, `[B, L]`."""
    texts = engine.labels.get(LABELS, ("a photo of a {}.",))
    return engine.model.logit_scale * features @ texts.T


def compared(mine: Tensor, exact: Tensor) -> tuple[str, str]:
    """How far probabilities `[B, L]` changed, and for how many images the best labels are the same.

    The five best are the same if they are the same labels, in any order.
    """
    changes = (mine - exact).abs()
    first = (mine.argmax(dim=1) == exact.argmax(dim=1)).float().mean()
    five = [each.topk(5, dim=1).indices.sort(dim=1).values for each in (mine, exact)]
    same = (five[0] == five[1]).all(dim=1).float().mean()
    return f"{changes.max():.4f}, {changes.quantile(0.99):.4f}", f"{first:.1%}, {same:.1%}"


def least_cosine(features: Tensor, exact: Tensor) -> float:
    """Of rows of length 1."""
    return float((features.double() * exact.double()).sum(dim=-1).min())


def timed(runs: dict[Precision, Callable[[], object]]) -> dict[Precision, float]:
    """Median seconds of each, the rounds alternating between them."""
    seconds: dict[Precision, list[float]] = {precision: [] for precision in runs}
    for _ in range(ROUNDS + 1):
        for precision, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[precision].append(time.perf_counter() - start)
    return {precision: statistics.median(times[1:]) for precision, times in seconds.items()}


if __name__ == "__main__":
    main()
