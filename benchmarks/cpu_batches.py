"""What an image costs on a CPU in batches of each size.

    python benchmarks/cpu_batches.py [ViT-B/32 RN50 ...]

Image towers with random weights, a replica a core as a worker has them; the sizes take turns, and a
figure is the median of the rounds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clip_engine import load_engine
from clip_engine.acceleration import Acceleration
from clip_engine.engine import Engine, ModelIdentity
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.images.transform import ImageTransform
from clip_engine.model import CLIP, CLIPConfig
from clip_engine.preprocess import Preprocessor
from clip_engine.tokenizer import Tokenizer

SIZES = (1, 2, 4, 8, 16)
ROUND_S = 2.0  # about as long as each size takes in a round
ROUNDS = 3
# Layers, width and patch of the image towers; the ResNet has none of the last.
TOWERS: dict[str, tuple[int | tuple[int, int, int, int], int, int | None]] = {
    "ViT-B/32": (12, 768, 32),
    "ViT-B/16": (12, 768, 16),
    "ViT-L/14": (24, 1024, 14),
    "RN50": ((3, 4, 6, 3), 64, None),
}


def engine_of(name: str) -> Engine:
    """An engine with every size; its text tower is not used and small."""
    if name == "demo":
        return load_engine("demo", buckets=SIZES)
    layers, width, patch = TOWERS[name]
    config = CLIPConfig(
        embed_dim=512,
        image_resolution=224,
        vision_layers=layers,
        vision_width=width,
        vision_patch_size=patch,
        transformer_width=64,
        transformer_layers=1,
    )
    model = CLIP(config).eval().requires_grad_(requires_grad=False)
    return Engine(
        ClipDualEncoder(model, tokenizer=Tokenizer(), acceleration=Acceleration()),
        identity=ModelIdentity(name, ""),
        preprocessor=Preprocessor(ImageTransform(224)),
        buckets=SIZES,
        acceleration=Acceleration(),
    )


def seconds_a_picture(engine: Engine, size: int, batches: int, replicas: int) -> float:
    """Wall-clock time, with so many batches a replica."""
    side = engine.preprocessor.transform.resolution
    batch = [torch.randint(256, (3, side, side), dtype=torch.uint8) for _ in range(size)]

    def run() -> None:
        for _ in range(batches):
            engine.encode_pixels(batch)

    threads = [threading.Thread(target=run) for _ in range(replicas)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - start) / (replicas * batches * size)


def main() -> None:
    """Print a table of milliseconds an image."""
    torch.set_num_threads(1)
    replicas = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    print("| model | " + " | ".join(map(str, SIZES)) + " |")
    print("| --- |" + " --- |" * len(SIZES))
    for name in sys.argv[1:] or [*TOWERS, "demo"]:
        engine = engine_of(name)
        about_s = seconds_a_picture(engine, SIZES[-1], 1, replicas) * replicas
        taken: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(ROUNDS):
            for size in SIZES:
                batches = max(1, round(ROUND_S / (about_s * size)))
                taken[size].append(seconds_a_picture(engine, size, batches, replicas))
        cells = " | ".join(f"{1000 * median(times):.3g}" for times in taken.values())
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
