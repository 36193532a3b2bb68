"""What is measured of the demo model, through the engine that everybody uses.

Axes: B pictures, L labels, A the six attributes, D embedding.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clip_engine.demo.world.captions import describe
from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import Scene, all_scenes
from clip_engine.engine import Engine
from clip_engine.prompts import DEFAULT_TEMPLATE

# Training pictures' seeds come from a 31-bit range; these lie above it.
FIRST_SEED = 2**40
PICTURE_SIZE = (320, 240)
ROWS_AT_ONCE = 1000  # against 36,864 labels, 150 MB


def sample_scenes(count: int, seed: int, *, held_out: bool) -> list[Scene]:
    """Scenes drawn at random, with replacement, from the held-out or from the training ones."""
    pool = [scene for scene in all_scenes() if scene.is_held_out == held_out]
    picks = np.random.default_rng(seed).integers(len(pool), size=count)
    return [pool[i] for i in picks]


def encode_scenes(
    engine: Engine,
    scenes: Sequence[Scene],
    size: tuple[int, int] = PICTURE_SIZE,
    jpeg_quality: int | None = None,
    first_seed: int = FIRST_SEED,
) -> Tensor:
    """Draw each scene, unlike any training picture, and encode it.

    Args:
        engine: With the model to measure.
        scenes: B scenes.
        size: Width and height of the pictures in pixels.
        jpeg_quality: None for pixels as drawn; else they pass through a JPEG of this quality.
        first_seed: Of the first picture; the next has the next.

    Returns:
        float32 `[B, D]`, each row of length 1.
    """
    pictures = (draw_scene(scene, size, first_seed + i) for i, scene in enumerate(scenes))
    files = (_stored(picture, jpeg_quality) for picture in pictures)
    return engine.encode_pixels([engine.prepare(file) for file in files])


def seeds_of(seed: int) -> int:
    """The first picture's seed of an evaluation; no other evaluation or training has the same."""
    return FIRST_SEED + seed * 2**20


def guess(
    engine: Engine, images: Tensor, labels: Sequence[str], template: str = DEFAULT_TEMPLATE
) -> Tensor:
    """Index of the best label for each picture, int64 `[B]`."""
    features = engine.labels.get(labels, (template,))  # [L, D]
    return torch.cat(
        [(rows @ features.T).argmax(dim=1) for rows in torch.split(images, ROWS_AT_ONCE)]
    )


def guess_scenes(
    engine: Engine, images: Tensor, candidates: Sequence[Scene], template: str = DEFAULT_TEMPLATE
) -> Tensor:
    """Indices of the values of each picture's best candidate scene, int64 `[B, A]`."""
    best = guess(engine, images, [describe(scene) for scene in candidates], template)
    return scene_indices(candidates)[best]


def scene_indices(scenes: Sequence[Scene]) -> Tensor:
    """Indices of the scenes' values on their axes, int64 `[B, A]`."""
    return torch.tensor([scene.indices for scene in scenes])


def _stored(picture: Image.Image, jpeg_quality: int | None) -> Image.Image | bytes:
    if jpeg_quality is None:
        return picture
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=jpeg_quality)
    return file.getvalue()
