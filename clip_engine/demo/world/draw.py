"""Draws a scene at any size, from a seed.

Lengths are relative to the side of the centre square, which is what CLIP's centre crop keeps; the
same seed gives the same layout at every resolution.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from clip_engine.demo.world.backgrounds import background
from clip_engine.demo.world.shapes import outline

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from clip_engine.demo.world.scenes import Scene

DIAMETERS: Final = {"small": 0.20, "medium": 0.28, "large": 0.39}
CENTRES: Final = {
    "left": (-0.25, 0.0),
    "right": (0.25, 0.0),
    "top": (0.0, -0.25),
    "bottom": (0.0, 0.25),
    "centre": (0.0, 0.0),
}
# Hue in degrees, saturation, value.
COLOUR_HSV: Final = {
    "red": (356.0, 0.88, 0.88),
    "orange": (27.0, 0.95, 0.98),
    "yellow": (52.0, 0.90, 1.00),
    "green": (138.0, 0.85, 0.68),
    "cyan": (184.0, 0.85, 0.90),
    "blue": (220.0, 0.90, 0.88),
    "purple": (277.0, 0.75, 0.70),
    "pink": (328.0, 0.55, 1.00),
}
_RING_RADII: Final = {2: 0.25, 3: 0.28, 4: 0.30}
_TILT_DEGREES: Final = 14.0
_SUPERSAMPLING: Final = 2


@dataclass(frozen=True, slots=True)
class _Body:
    """One object ready to paint: centre and radius in pixels, tilt in degrees."""

    x: float
    y: float
    radius: float
    tilt: float
    rgb: tuple[int, int, int]


def draw_scene(scene: Scene, size: tuple[int, int], seed: int) -> Image.Image:
    """Draw a scene.

    Args:
        scene: What to draw.
        size: Width and height of the picture in pixels.
        seed: Decides the jitter of place, size, tilt, colour and ground, and the grain.

    Returns:
        An RGB picture, the same for the same arguments.
    """
    rng = np.random.default_rng(seed)
    bodies_rng, ground_rng, grain_rng = rng.spawn(3)
    fine_size = (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING)
    canvas = background(scene.background, fine_size, ground_rng)
    for body in _bodies(scene, canvas.size, bodies_rng):
        _paint(canvas, body, scene, float(bodies_rng.uniform(0, 180)))
    return _grain(canvas.reduce(_SUPERSAMPLING), grain_rng)


def _bodies(scene: Scene, size: tuple[int, int], rng: Generator) -> list[_Body]:
    side = min(size)
    diameter = DIAMETERS[scene.size] * rng.uniform(0.95, 1.05)
    rgb = _jittered_rgb(scene.colour, rng)
    centres = _centres(scene, rng) * side + np.array(size) / 2
    tilts = rng.uniform(-_TILT_DEGREES, _TILT_DEGREES, len(centres))
    return [
        _Body(float(x), float(y), diameter / 2 * side, float(tilt), rgb)
        for (x, y), tilt in zip(centres, tilts, strict=True)
    ]


def _centres(scene: Scene, rng: Generator) -> NDArray[np.float64]:
    """Object centres, [N, 2], relative to the picture's centre and the square's side."""
    if scene.count == 1:
        centres = np.array([CENTRES[scene.placement]])
        return centres + rng.uniform(-0.03, 0.03, (1, 2))
    turn = rng.uniform(0, 2 * np.pi)
    angles = turn + np.arange(scene.count) * 2 * np.pi / scene.count
    ring = _RING_RADII[scene.count] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return ring + rng.uniform(-0.01, 0.01, ring.shape)


def _jittered_rgb(colour: str, rng: Generator) -> tuple[int, int, int]:
    hue, saturation, value = COLOUR_HSV[colour]
    red, green, blue = colorsys.hsv_to_rgb(
        ((hue + rng.uniform(-5, 5)) % 360) / 360,
        min(1.0, saturation * rng.uniform(0.92, 1.06)),
        min(1.0, value * rng.uniform(0.92, 1.06)),
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def _paint(canvas: Image.Image, body: _Body, scene: Scene, stripe_degrees: float) -> None:
    """Shadow, filling and edge of one object, onto the canvas."""
    half = int(body.radius * 1.35) + 2
    left, top = round(body.x) - half, round(body.y) - half
    hollow = scene.texture == "hollow"
    inside, edge = _masks(body, scene.shape, half, edge_width=0.21 if hollow else 0.09)
    cover = edge if hollow else inside
    drop = max(1, round(body.radius * 0.12))
    shadow = cover.filter(ImageFilter.GaussianBlur(drop * 0.7)).point(lambda value: value * 2 // 5)
    canvas.paste((0, 0, 0), (left + drop, top + drop), shadow)
    if not hollow:
        canvas.paste(_filling(body, scene.texture, half, stripe_degrees), (left, top), inside)
    canvas.paste(body.rgb if hollow else _mixed(body.rgb, 0, 0.35), (left, top), edge)


def _masks(
    body: _Body, shape: str, half: int, edge_width: float
) -> tuple[Image.Image, Image.Image]:
    """The object's inside and its edge, as two L masks of side 2 * half."""
    tilt = np.deg2rad(body.tilt)
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    corners = [(float(x), float(y)) for x, y in outline(shape) @ turn * body.radius + half]
    inside = Image.new("L", (2 * half, 2 * half))
    ImageDraw.Draw(inside).polygon(corners, fill=255)
    edge = Image.new("L", inside.size)
    width = max(1, round(2 * edge_width * body.radius))
    ImageDraw.Draw(edge).line([*corners, *corners[:2]], fill=255, width=width, joint="curve")
    return inside, ImageChops.darker(inside, edge)


def _filling(body: _Body, texture: str, half: int, stripe_degrees: float) -> Image.Image:
    """The object's surface, side 2 * half: its colour, with a pale pattern where it has one."""
    surface = Image.new("RGB", (2 * half, 2 * half), body.rgb)
    if texture == "solid":
        return surface
    axis = (np.arange(2 * half) - half) / body.radius
    y, x = np.meshgrid(axis, axis, indexing="ij")
    angle = np.deg2rad(stripe_degrees)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    pale = _stripes(across) if texture == "striped" else _dots(along, across)
    surface.paste(_mixed(body.rgb, 255, 0.85), mask=Image.fromarray((pale * 255).astype(np.uint8)))
    return surface


def _stripes(across: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (across / 0.46) % 1.0 < 0.5


def _dots(along: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.bool_]:
    step = 0.52
    x, y = along / step % 1.0 - 0.5, across / step % 1.0 - 0.5
    return np.hypot(x, y) < 0.30


def _mixed(rgb: tuple[int, int, int], towards: int, share: float) -> tuple[int, int, int]:
    """A colour mixed with black (0) or white (255)."""
    red, green, blue = (round(value + (towards - value) * share) for value in rgb)
    return red, green, blue


def _grain(picture: Image.Image, rng: Generator) -> Image.Image:
    """Film grain: noise of up to 4 of 255 levels (standard deviation)."""
    pixels = np.asarray(picture, dtype=np.float32)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(0, 4)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
