"""What `upload(shrink_to=N)` does to the probabilities, and to the size of an upload.

    .venv/bin/python -W ignore benchmarks/shrinking.py [SCENES]

Scenes of the demo model's world are drawn with 800x600 pixels, saved as JPEGs of quality 92, and
classified by the demo model, whole and made smaller, with 32 labels such as "striped heart". 60 by
default, which take a minute. Bias: the demo model sees 96 pixels a side and is sure of itself, so
a probability either stays or changes much; N is to be read as a multiple of 96.
"""

from __future__ import annotations

import io
import statistics
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from clip_engine import Engine, load_engine
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import SHAPES, TEXTURES, all_scenes
from clip_worker.client.shrinking import shrink

SCENES = 60
LABELS = [f"{texture} {shape}" for texture in TEXTURES for shape in SHAPES]
SIZE = (800, 600)
QUALITY = 92
SIDES = (64, 96, 192, 384, 576)


def pictures(count: int) -> list[bytes]:
    """JPEGs of different scenes."""
    scenes = list(all_scenes())
    step = len(scenes) // count
    files = []
    for seed, scene in enumerate(scenes[::step][:count]):
        file = io.BytesIO()
        draw_scene(scene, SIZE, seed).save(file, "JPEG", quality=QUALITY)
        files.append(file.getvalue())
    return files


def probabilities(engine: Engine, data: bytes) -> dict[str, float]:
    """Of all labels."""
    [predictions] = engine.classify([data], LABELS, k=len(LABELS))
    return {each.label: each.probability for each in predictions}


def main() -> None:
    """Measure, and print a row for each N."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SCENES
    engine = load_engine("demo", precision="float32")
    files = pictures(count)
    whole = [probabilities(engine, data) for data in files]
    size = statistics.fmean(map(len, files))
    print(f"{count} scenes, {size / 1000:.0f} kB on average")
    for side in SIDES:
        small = [shrink(data, side) for data in files]
        changes = []
        other = 0
        for before, data in zip(whole, small, strict=True):
            after = probabilities(engine, data)
            changes.append(max(abs(after[label] - before[label]) for label in LABELS))
            other += max(after, key=after.__getitem__) != max(before, key=before.__getitem__)
        print(
            f"shrink_to={side:4}: {statistics.fmean(map(len, small)) / 1000:5.1f} kB, change of a "
            f"probability: median {np.median(changes):.4f}, 95% below "
            f"{np.quantile(changes, 0.95):.4f}, at most {max(changes):.4f}; another best label: "
            f"{other}"
        )


if __name__ == "__main__":
    main()
