"""The pictures that `clip-worker demo` tags, each with a question of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from clip_engine.demo.draw import draw_scene
from clip_engine.demo.scenes import COLOURS, SHAPES, Scene

if TYPE_CHECKING:
    from pathlib import Path

_QUALITY: Final = 90  # of JPEG and WebP


@dataclass(frozen=True, slots=True)
class DemoPicture:
    """One picture and the question asked about it.

    Attributes:
        file_name: What to save it as; the suffix tells the format.
        scene: What it shows.
        size: Width and height in pixels.
        seed: Decides what the scene leaves open.
        labels: What to choose from.
        k: How many labels to answer with.
        answer: The label that is true.
    """

    file_name: str
    scene: Scene
    size: tuple[int, int]
    seed: int
    labels: tuple[str, ...]
    k: int
    answer: str


# File, scene, size; labels to choose from, how many to answer with, the true one.
_PICTURES: Final = (
    (
        "three-hearts.jpg",
        Scene("three", "large", "red", "striped", "heart", "grass"),
        (640, 480),
        ("red heart", "blue heart", "red circle", "green star", "yellow moon"),
        3,
        "red heart",
    ),
    (
        "moon.png",
        Scene("left", "large", "yellow", "solid", "moon", "night sky"),
        (640, 480),
        SHAPES,
        3,
        "moon",
    ),
    (
        "stars.jpg",
        Scene("four", "medium", "orange", "solid", "star", "sand"),
        (800, 600),
        ("one", "two", "three", "four"),
        4,
        "four",
    ),
    (
        "balloon.webp",
        Scene("top", "large", "pink", "solid", "circle", "white"),
        (480, 640),
        ("left", "right", "top", "bottom", "centre"),
        2,
        "top",
    ),
    (
        "kite.png",
        Scene("right", "medium", "purple", "striped", "diamond", "grey"),
        (640, 480),
        ("solid", "striped", "dotted", "hollow"),
        2,
        "striped",
    ),
    (
        "clover.jpg",
        Scene("centre", "medium", "green", "dotted", "heart", "grass"),
        (1024, 768),
        ("white background", "black background", "grey background", "grass", "sand", "night sky"),
        3,
        "grass",
    ),
    (
        "crosses.png",
        Scene("two", "large", "blue", "hollow", "cross", "white"),
        (512, 512),
        ("two blue crosses", "three blue crosses", "two red crosses", "two blue diamonds"),
        2,
        "two blue crosses",
    ),
    (
        "box.bmp",
        Scene("bottom", "small", "cyan", "solid", "square", "black"),
        (400, 300),
        ("small", "medium", "large"),
        1,
        "small",
    ),
    (
        "signs.jpg",
        Scene("three", "medium", "yellow", "striped", "triangle", "black"),
        (640, 360),
        COLOURS,
        5,
        "yellow",
    ),
    (
        "rings.webp",
        Scene("four", "large", "green", "hollow", "circle", "night sky"),
        (640, 480),
        ("hollow green circles", "solid green circles", "hollow blue circles", "green stars"),
        4,
        "hollow green circles",
    ),
    (
        "starfish.png",
        Scene("two", "medium", "cyan", "striped", "star", "sand"),
        (300, 500),
        (
            "two striped cyan stars on sand",
            "two dotted cyan stars on sand",
            "two striped cyan stars on grass",
            "four striped cyan stars on sand",
            "two striped green stars on sand",
        ),
        5,
        "two striped cyan stars on sand",
    ),
    (
        "planet.gif",
        Scene("bottom", "large", "pink", "striped", "circle", "night sky"),
        (480, 480),
        ("pink circle at the bottom", "pink circle at the top", "pink moon at the bottom"),
        1,
        "pink circle at the bottom",
    ),
)


def demo_pictures() -> list[DemoPicture]:
    """A dozen pictures, in several sizes and formats, each with labels and a K of its own."""
    return [
        DemoPicture(name, scene, size, seed, labels, k, answer)
        for seed, (name, scene, size, labels, k, answer) in enumerate(_PICTURES)
    ]


def draw_demo_pictures(folder: Path) -> list[DemoPicture]:
    """Draw the demo's pictures into a folder.

    Args:
        folder: Where to; it must be there. Files of the same names are replaced.

    Returns:
        What was drawn, in the order of `demo_pictures`.
    """
    pictures = demo_pictures()
    for picture in pictures:
        image = draw_scene(picture.scene, picture.size, picture.seed)
        image.save(folder / picture.file_name, quality=_QUALITY)
    return pictures
