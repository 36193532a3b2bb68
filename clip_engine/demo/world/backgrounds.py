"""Grounds that the demo's objects lie on: plain colours, grass, sand and a night sky.

Everything is relative to the picture's size, so that a ground looks alike at any resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

    Size = tuple[int, int]  # width and height in pixels
    Rgb = tuple[int, int, int]

_GRAINS: Final = 96
_BLADES: Final = 260
_STARS: Final = 45


def background(name: str, size: Size, rng: Generator) -> Image.Image:
    """Draw a ground.

    Args:
        name: One of `scenes.BACKGROUNDS`.
        size: Width and height in pixels.
        rng: Source of the ground's details and of its slight change in brightness.

    Returns:
        An RGB picture of that size.

    Raises:
        KeyError: If there is no such ground.
    """
    return _GROUNDS[name](size, rng)


def _gradient(size: Size, top: Rgb, bottom: Rgb, rng: Generator) -> Image.Image:
    """A vertical gradient, its brightness off by up to 6 percent."""
    ends = np.array([top, bottom], dtype=np.float64)[:, None, :] * rng.uniform(0.94, 1.06)
    strip = Image.fromarray(np.clip(ends, 0, 255).astype(np.uint8))
    return strip.resize(size, Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))


def _speckle(picture: Image.Image, cells: Size, strength: float, rng: Generator) -> Image.Image:
    """Darken and lighten in cells: `cells` wide and high over the picture, strength 0 to 1."""
    noise = rng.normal(128.0, 128.0 * strength, (cells[1], cells[0]))
    mask = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
    mask = mask.resize(picture.size, Image.Resampling.BICUBIC)
    light = picture.point(lambda value: min(255, int(value * 1.25)))
    dark = picture.point(lambda value: int(value * 0.75))
    return Image.composite(light, dark, mask)


def _white(size: Size, rng: Generator) -> Image.Image:
    return _gradient(size, (255, 255, 255), (238, 238, 240), rng)


def _black(size: Size, rng: Generator) -> Image.Image:
    return _gradient(size, (6, 6, 8), (22, 22, 24), rng)


def _grey(size: Size, rng: Generator) -> Image.Image:
    return _gradient(size, (152, 152, 154), (110, 110, 112), rng)


def _grass(size: Size, rng: Generator) -> Image.Image:
    ground = _gradient(size, (98, 128, 62), (62, 92, 36), rng)
    ground = _speckle(ground, (_GRAINS, _GRAINS // 4), 0.5, rng)
    pen = ImageDraw.Draw(ground)
    unit = min(size) / 100
    roots = rng.uniform(0, 1, (_BLADES, 2)) * np.array(size)
    bends = rng.normal(0, 2.0, _BLADES) * unit
    heights = rng.uniform(4, 9, _BLADES) * unit
    shades = rng.integers(-30, 45, _BLADES)
    for (x, y), bend, height, shade in zip(roots, bends, heights, shades, strict=True):
        blade = [(x - 0.5 * unit, y), (x + bend, y - height), (x + 0.5 * unit, y)]
        pen.polygon(blade, fill=(84 + int(shade), 116 + int(shade), 48 + int(shade) // 2))
    return ground


def _sand(size: Size, rng: Generator) -> Image.Image:
    ground = _gradient(size, (232, 206, 158), (210, 178, 122), rng)
    ground = _speckle(ground, (_GRAINS // 16, _GRAINS // 3), 0.2, rng)
    return _speckle(ground, (2 * _GRAINS, 2 * _GRAINS), 0.25, rng)


def _night_sky(size: Size, rng: Generator) -> Image.Image:
    sky = _gradient(size, (16, 18, 52), (58, 44, 112), rng)
    pen = ImageDraw.Draw(sky)
    places = rng.uniform(0, 1, (_STARS, 2)) * np.array(size)
    radii = rng.uniform(0.25, 0.75, _STARS) * min(size) / 100
    glows = rng.integers(150, 256, _STARS)
    for (x, y), radius, glow in zip(places, radii, glows, strict=True):
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=(int(glow), int(glow), min(255, int(glow) + 10)))
    return sky


_GROUNDS: Final[dict[str, Callable[[Size, Generator], Image.Image]]] = {
    "white": _white,
    "black": _black,
    "grey": _grey,
    "grass": _grass,
    "sand": _sand,
    "night sky": _night_sky,
}
