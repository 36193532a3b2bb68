"""Draws the sample pictures of examples/gallery, which the demo model knows.

.venv/bin/python scripts/draw_gallery_samples.py
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from clip_engine.demo.world.captions import describe
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import (
    BACKGROUNDS,
    COLOURS,
    PLACEMENTS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
)

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "gallery" / "static" / "samples"
COUNT = 40
SIDE = 320  # pixels
QUALITY = 60  # of WebP
SEED = 7


def scenes(count: int, seed: int = SEED) -> list[Scene]:
    """Different scenes, among which each value of an axis is about as frequent."""
    random = Random(seed)
    axes = []
    for values in (PLACEMENTS, SIZES, COLOURS, TEXTURES, SHAPES, BACKGROUNDS):
        repeated = list(values) * (count // len(values) + 1)
        random.shuffle(repeated)
        axes.append(repeated[:count])
    return [Scene(*values) for values in zip(*axes, strict=True)]


def draw(folder: Path, count: int = COUNT) -> None:
    """Draw the pictures into a folder that exists; each is named after what it shows."""
    for seed, scene in enumerate(scenes(count)):
        path = folder / f"{describe(scene).replace(' ', '-')}.webp"
        draw_scene(scene, (SIDE, SIDE), seed).save(path, quality=QUALITY, method=6)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    draw(FOLDER)
