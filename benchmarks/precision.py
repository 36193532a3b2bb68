"""What lower precision of the image tower changes: features, probabilities, speed.

python benchmarks/precision.py

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

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from demo_model.world.draw import draw_scene  # scripts'
from demo_model.world.scenes import Scene, all_scenes

from clip_engine import Engine, load_engine
from clip_engine.model import CLIP, CLIPConfig
from clip_engine.model.layers import store_weights
from clip_engine.precision import Precision

ROUNDS = 5
BATCH = 8
PICTURES = 512
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
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
    seconds: float


def main() -> None:
    """Print a table."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads,", end=" ")
    print(f"batches of {BATCH}, medians of {ROUNDS}")
    print("| tower | precision | least cosine | most change of a probability | time |")
    print("|---|---|---|---|---|")
    towers = {"demo": demo_rows()} | {n: tower_rows(c) for n, c in TOWERS.items()}
    for name, rows in towers.items():
        for precision, row in rows.items():
            time_ = f"{row.seconds / rows['float32'].seconds:.2f}"
            print(f"| {name} | {precision} | {row.cosine:.7f} | {row.probability} | {time_} |")


def demo_rows() -> dict[Precision, Row]:
    """The trained model on images of its world, each against wrong labels only.

    With the right label among them every probability is near 0 or 1, and nothing could change it.
    """
    engines = {p: load_engine("demo", precision=p, buckets=(BATCH,)) for p in PRECISIONS}
    scenes = random.Random(0).sample(list(all_scenes()), PICTURES)
    size = (engines["float32"].preprocessor.transform.resolution,) * 2
    pixels = [engines["float32"].prepare(draw_scene(s, size, seed=i)) for i, s in enumerate(scenes)]
    features = {p: engine.encode_pixels(pixels) for p, engine in engines.items()}
    few = pixels[:BATCH]
    seconds = timed({p: partial(engine.encode_pixels, few) for p, engine in engines.items()})
    exact = probabilities(engines["float32"], features["float32"], scenes)
    return {
        p: Row(
            least_cosine(features[p], features["float32"]),
            f"{(probabilities(engine, features[p], scenes) - exact).abs().max():.4f}",
            seconds[p],
        )
        for p, engine in engines.items()
    }


def tower_rows(config: CLIPConfig) -> dict[Precision, Row]:
    """A published architecture with random weights on noise."""
    torch.manual_seed(0)
    tower = CLIP(config).eval().requires_grad_(requires_grad=False).visual
    for name, weight in tower.named_parameters():
        if name.endswith("bn3.weight"):
            weight.uniform_(0.5, 1.0)
    towers: dict[Precision, nn.Module] = {p: copy.deepcopy(tower) for p in PRECISIONS}
    for precision, copied in towers.items():
        store_weights(copied, getattr(torch, precision))
    pixels = torch.randn(BATCH, 3, config.image_resolution, config.image_resolution)
    with torch.inference_mode():
        features = {p: functional.normalize(t(pixels).float(), dim=-1) for p, t in towers.items()}
        seconds = timed({p: partial(t, pixels) for p, t in towers.items()})
    return {p: Row(least_cosine(features[p], features["float32"]), "", seconds[p]) for p in towers}


def probabilities(engine: Engine, features: Tensor, scenes: Sequence[Scene]) -> Tensor:
    """Softmax over all labels but the right one, `[B, L]`."""
    texts = engine.labels.get(LABELS, ("a photo of a {}.",))
    logits = engine.model.logit_scale * features @ texts.T
    for row, scene in zip(logits, scenes, strict=True):
        row[LABELS.index(f"{scene.colour} {scene.shape}")] = -torch.inf
    return logits.softmax(dim=-1)


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
