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
        k: The number of predictions.
        answer: The true label.
    """

    file_name: str
    description: str
    labels: tuple[str, ...]
    k: int
    answer: str

    @property
    def path(self) -> Path:
        """Path of the file."""
        return image_folder() / self.file_name


def image_folder() -> Path:
    """The folder that holds the demo's images, in the installed package."""
    return Path(str(resources.files("clip_engine").joinpath("demo", "images"))).resolve()


DEMO_IMAGES = (
    DemoImage(
        "three-hearts.jpg",
        "three large red striped hearts on grass",
        ("red heart", "blue heart", "red circle", "green star", "yellow moon"),
        k=3,
        answer="red heart",
    ),
    DemoImage(
        "moon.png",
        "large yellow solid moon on the left in the night sky",
        ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "moon"),
        k=3,
        answer="moon",
    ),
    DemoImage(
        "stars.jpg",
        "four medium orange solid stars on sand",
        ("one", "two", "three", "four"),
        k=4,
        answer="four",
    ),
    DemoImage(
        "balloon.webp",
        "large pink solid circle at the top on a white background",
        ("left", "right", "top", "bottom", "centre"),
        k=2,
        answer="top",
    ),
    DemoImage(
        "kite.png",
        "medium purple striped diamond on the right on a grey background",
        ("solid", "striped", "dotted", "hollow"),
        k=2,
        answer="striped",
    ),
    DemoImage(
        "clover.jpg",
        "medium green dotted heart in the centre on grass",
        ("white background", "black background", "grey background", "grass", "sand", "night sky"),
        k=3,
        answer="grass",
    ),
    DemoImage(
        "crosses.png",
        "two large blue hollow crosses on a white background",
        ("two blue crosses", "three blue crosses", "two red crosses", "two blue diamonds"),
        k=2,
        answer="two blue crosses",
    ),
    DemoImage(
        "box.bmp",
        "small cyan solid square at the bottom on a black background",
        ("small", "medium", "large"),
        k=1,
        answer="small",
    ),
    DemoImage(
        "signs.jpg",
        "three medium yellow striped triangles on a black background",
        ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
        k=5,
        answer="yellow",
    ),
    DemoImage(
        "rings.webp",
        "four large green hollow circles in the night sky",
        ("hollow green circles", "solid green circles", "hollow blue circles", "green stars"),
        k=4,
        answer="hollow green circles",
    ),
    DemoImage(
        "starfish.png",
        "two medium cyan striped stars on sand",
        (
            "two striped cyan stars on sand",
            "two dotted cyan stars on sand",
            "two striped cyan stars on grass",
            "four striped cyan stars on sand",
            "two striped green stars on sand",
        ),
        k=5,
        answer="two striped cyan stars on sand",
    ),
    DemoImage(
        "planet.gif",
        "large pink striped circle at the bottom in the night sky",
        ("pink circle at the bottom", "pink circle at the top", "pink moon at the bottom"),
        k=1,
        answer="pink circle at the bottom",
    ),
)
