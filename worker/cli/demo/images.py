"""The images that `clip-worker demo` classifies, each with its own labels.

They are files of `clip_engine/demo/images`, drawn by `scripts/draw_demo_images.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DemoImage:
    """An image and its request.

    Attributes:
        file_name: Name of its file in `image_folder()`.
        description: What it shows.
        labels: The labels of the request.
        true: Those of the labels that are true of the image, the most probable first.
    """

    file_name: str
    description: str
    labels: tuple[str, ...]
    true: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Path of the file."""
        return image_folder() / self.file_name

    @property
    def answer(self) -> str:
        """The label that the demo model finds most probable."""
        return self.true[0]


def image_folder() -> Path:
    """The folder that holds the demo's images, in the installed package."""
    return Path(str(resources.files("clip_engine").joinpath("demo", "images"))).resolve()


DEMO_IMAGES = (
    DemoImage(
        "three-hearts.jpg",
        "three large red striped hearts on grass",
        ("red hearts", "striped hearts", "three hearts", "hearts on grass", "blue circles"),
        true=("hearts on grass", "three hearts", "striped hearts", "red hearts"),
    ),
    DemoImage(
        "moon.png",
        "large yellow solid moon on the left in the night sky",
        ("large moon", "moon on the left", "moon in the night sky", "yellow star", "circle"),
        true=("moon in the night sky", "large moon", "moon on the left"),
    ),
    DemoImage(
        "stars.jpg",
        "four medium orange solid stars on sand",
        ("four stars", "solid stars", "orange stars on sand", "three stars", "orange hearts"),
        true=("four stars", "solid stars", "orange stars on sand"),
    ),
    DemoImage(
        "balloon.webp",
        "large pink solid circle at the top on a white background",
        ("pink circle", "large circle", "circle at the top", "pink heart"),
        true=("large circle", "circle at the top", "pink circle"),
    ),
    DemoImage(
        "kite.png",
        "medium purple striped diamond on the right on a grey background",
        ("purple diamond", "striped diamond", "diamond on the right", "purple square"),
        true=("diamond on the right", "purple diamond", "striped diamond"),
    ),
    DemoImage(
        "clover.jpg",
        "medium green dotted heart in the centre on grass",
        ("green heart", "dotted heart", "heart on grass", "green cross"),
        true=("heart on grass", "dotted heart", "green heart"),
    ),
    DemoImage(
        "crosses.png",
        "two large blue hollow crosses on a white background",
        ("blue crosses", "hollow crosses", "two crosses", "three crosses", "blue stars"),
        true=("hollow crosses", "blue crosses", "two crosses"),
    ),
    DemoImage(
        "box.bmp",
        "small cyan solid square at the bottom on a black background",
        ("cyan square", "small square", "square at the bottom", "cyan diamond"),
        true=("cyan square", "small square", "square at the bottom"),
    ),
    DemoImage(
        "signs.jpg",
        "three medium yellow striped triangles on a black background",
        ("yellow triangles", "three triangles", "striped triangles", "yellow stars"),
        true=("three triangles", "yellow triangles", "striped triangles"),
    ),
    DemoImage(
        "rings.webp",
        "four large green hollow circles in the night sky",
        ("green circles", "hollow circles", "circles in the night sky", "hollow squares"),
        true=("circles in the night sky", "green circles", "hollow circles"),
    ),
    DemoImage(
        "starfish.png",
        "two medium cyan striped stars on sand",
        ("cyan stars", "striped stars", "two stars on sand", "cyan crosses"),
        true=("cyan stars", "striped stars", "two stars on sand"),
    ),
    DemoImage(
        "planet.gif",
        "large pink striped circle at the bottom in the night sky",
        (
            "pink circle",
            "striped circle",
            "circle at the bottom",
            "circle in the night sky",
            "moon",
        ),
        true=("circle in the night sky", "striped circle", "pink circle", "circle at the bottom"),
    ),
)
