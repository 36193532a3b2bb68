"""Draws the images that `clip-worker demo` tags.

.venv/bin/python scripts/draw_demo_images.py
"""

from __future__ import annotations

from pathlib import Path

from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import Scene

FOLDER = Path(__file__).resolve().parents[1] / "clip_engine" / "demo" / "images"
QUALITY = 90  # of JPEG and WebP
# The file, what it shows, width and height in pixels. A drawing's place here is its seed.
DRAWINGS = (
    (
        "three-hearts.jpg",
        Scene("three", "large", "red", "striped", "heart", "grass"),
        (640, 480),
    ),
    ("moon.png", Scene("left", "large", "yellow", "solid", "moon", "night sky"), (640, 480)),
    ("stars.jpg", Scene("four", "medium", "orange", "solid", "star", "sand"), (800, 600)),
    ("balloon.webp", Scene("top", "large", "pink", "solid", "circle", "white"), (480, 640)),
    ("kite.png", Scene("right", "medium", "purple", "striped", "diamond", "grey"), (640, 480)),
    ("clover.jpg", Scene("centre", "medium", "green", "dotted", "heart", "grass"), (1024, 768)),
    ("crosses.png", Scene("two", "large", "blue", "hollow", "cross", "white"), (512, 512)),
    ("box.bmp", Scene("bottom", "small", "cyan", "solid", "square", "black"), (400, 300)),
    ("signs.jpg", Scene("three", "medium", "yellow", "striped", "triangle", "black"), (640, 360)),
    ("rings.webp", Scene("four", "large", "green", "hollow", "circle", "night sky"), (640, 480)),
    ("starfish.png", Scene("two", "medium", "cyan", "striped", "star", "sand"), (300, 500)),
    ("planet.gif", Scene("bottom", "large", "pink", "striped", "circle", "night sky"), (480, 480)),
)


def draw(folder: Path) -> None:
    """Draw all images into a folder that exists. Files of the same names are replaced."""
    for seed, (name, scene, size) in enumerate(DRAWINGS):
        draw_scene(scene, size, seed).save(folder / name, quality=QUALITY)


if __name__ == "__main__":
    draw(FOLDER)
