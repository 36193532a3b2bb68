"""How far scores are from those with transformers' image processor, whose crop lies otherwise.

    .venv/bin/python -W ignore benchmarks/centre_crop.py [SCENES]

Of an odd rest, CLIP's own code rounds the half pixel to an even number (as torchvision does), and
transformers' `CLIPImageProcessor` rounds it down, so that every other odd rest is cropped one pixel
aside. Scenes of the demo model's world are drawn in several sizes, prepared both ways (its variant
that resizes with Pillow, so that nothing but the crop can differ), and classified with 32 labels.
Bias: the demo model sees 96 pixels a side, so that one pixel is more than it is of 224, and is sure
of itself, so that most probabilities stay and a few change much.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from clip_engine import Engine, load_engine
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import SHAPES, TEXTURES, all_scenes
from clip_engine.images.geometry import resized_size
from clip_engine.prompts import DEFAULT_TEMPLATE

SCENES = 60
LABELS = [f"{texture} {shape}" for texture in TEXTURES for shape in SHAPES]
SIZES = ((640, 427), (427, 640), (468, 384), (640, 480))


def theirs(images: list[Image.Image], side: int) -> list[Tensor]:
    """Transformers' pixels, uint8 `[3, R, R]` each."""
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        do_rescale=False,
        do_normalize=False,
    )
    pixels = processor(images, return_tensors="pt")["pixel_values"]
    return list(pixels.to(torch.uint8))


def probabilities(engine: Engine, pixels: list[Tensor], labels: Tensor) -> Tensor:
    """Of all labels, `[B, L]`."""
    return (engine.model.logit_scale * engine.encode_pixels(pixels) @ labels.T).softmax(dim=-1)


def main() -> None:
    """Print a row for each size."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SCENES
    engine = load_engine("demo", precision="float32", preprocessing="exact")
    transform = engine.preprocessor.transform
    labels = engine.labels.get(tuple(LABELS), (DEFAULT_TEMPLATE,))
    scenes = list(all_scenes())
    scenes = scenes[:: len(scenes) // count][:count]
    print("| size | resized | crops apart | median change | largest | other best label |")
    print("| --- " * 6 + "|")
    for size in SIZES:
        images = [draw_scene(scene, size, seed) for seed, scene in enumerate(scenes)]
        ours = probabilities(engine, [engine.prepare(image) for image in images], labels)
        other = probabilities(engine, theirs(images, transform.resolution), labels)
        changes = (ours - other).abs().amax(dim=1).tolist()
        moved = int((ours.argmax(dim=1) != other.argmax(dim=1)).sum())
        width, height = resized_size(size, transform)
        rest = max(width, height) - transform.resolution
        apart = round(rest / 2.0) - rest // 2
        print(
            f"| {size[0]}x{size[1]} | {width}x{height} | {apart} "
            f"| {statistics.median(changes):.4f} | {max(changes):.4f} | {moved} |"
        )


if __name__ == "__main__":
    main()
