"""JPEGs that are as hard to decode as photographs: noise of every scale, edges, fine grain.

Flat or drawn images compress to a tenth of a photograph's bytes and decode faster.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

QUALITY = 88
GRAIN = 9.0  # standard deviation of the finest noise, of 255
SHAPES = 40


@dataclass(frozen=True)
class Size:
    """A size of images.

    Attributes:
        name: For tables.
        width, height: In pixels.
        count: How many different ones a run uses.
    """

    name: str
    width: int
    height: int
    count: int


SMALL = Size("500x375", 500, 375, 64)
LARGE = Size("1920x1280", 1920, 1280, 24)
TWELVE_MEGAPIXELS = Size("4000x3000", 4000, 3000, 8)


def make_pictures(size: Size, folder: Path) -> list[Path]:
    """The files of this size, drawn now where the folder lacks them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{size.width}x{size.height}-{i}.jpg" for i in range(size.count)]
    for seed, path in enumerate(paths):
        if not path.exists():
            part = path.with_suffix(".part")
            draw_picture(size, seed).save(part, "JPEG", quality=QUALITY)
            part.replace(path)
    return paths


def draw_picture(size: Size, seed: int) -> Image.Image:
    """One image; the same for the same seed."""
    generator = np.random.default_rng(seed)
    picture = _clouds(size, generator)
    _add_shapes(picture, random.Random(seed))
    grain = generator.normal(0, GRAIN, (size.height, size.width, 1)).astype(np.float32)
    return Image.fromarray(_bytes(np.asarray(picture, np.float32) + grain))


def _clouds(size: Size, generator: np.random.Generator) -> Image.Image:
    """Noise whose amplitude falls with its frequency, as in photographs (Field 1987)."""
    total = np.full((size.height, size.width, 3), 128.0, np.float32)
    cells, amplitude = 2, 60.0
    while cells * 4 < size.width:
        total += amplitude * _octave(size, cells, generator)
        cells, amplitude = cells * 2, amplitude * 0.62
    return Image.fromarray(_bytes(total))


def _octave(size: Size, cells: int, generator: np.random.Generator) -> NDArray[np.float32]:
    rows = max(2, cells * size.height // size.width)
    grid = Image.fromarray(generator.integers(0, 256, (rows, cells, 3), np.uint8))
    wide = grid.resize((size.width, size.height), Image.Resampling.BICUBIC)
    return np.asarray(wide, np.float32) / 127.5 - 1


def _add_shapes(picture: Image.Image, chance: random.Random) -> None:
    draw = ImageDraw.Draw(picture)
    for _ in range(SHAPES):
        x, y = chance.uniform(0, picture.width), chance.uniform(0, picture.height)
        radius = chance.uniform(0.01, 0.1) * picture.width
        box = (x - radius, y - radius, x + radius, y + radius)
        colour = tuple(chance.randrange(256) for _ in range(3))
        chance.choice((draw.ellipse, draw.rectangle))(box, outline=colour, width=3)


def _bytes(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return levels.clip(0, 255).astype(np.uint8)
