"""Images on a terminal, as coloured half blocks: `▀` has an upper and a lower colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from PIL import Image, ImageOps
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from worker.cli.output.bar import has_blocks

SIDE = 14  # pixels of a thumbnail, and columns
GAP = 2
COLOUR_SYSTEMS = ("256", "truecolor")


class Picture(NamedTuple):
    """A thumbnail.

    Attributes:
        image: RGB, of SIDE x SIDE pixels; black if the file can't be decoded.
        caption: Is shown below it.
    """

    image: Image.Image
    caption: str

    @classmethod
    def of(cls, path: Path, caption: str) -> Self:
        """The thumbnail of an image file."""
        try:
            with Image.open(path) as image:
                image.draft("RGB", (SIDE, SIDE))  # JPEGs are decoded at a fraction of their size
                fitted = ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.BOX)
        except Exception:  # noqa: BLE001  # whatever a decoder raises; or it is deleted
            fitted = Image.new("RGB", (SIDE, SIDE))
        return cls(fitted, caption)


def can_draw(console: Console) -> bool:
    """Whether a console has the colours and characters."""
    return console.color_system in COLOUR_SYSTEMS and has_blocks(console.encoding)


def per_row(console: Console) -> int:
    """How many thumbnails fit side by side, at least one."""
    return max(1, console.width // (SIDE + GAP))


def picture_lines(pictures: Sequence[Picture]) -> list[Text]:
    """Thumbnails side by side, with their captions in the last line."""
    lines = [_joined([_line(each.image, y) for each in pictures]) for y in range(0, SIDE, 2)]
    captions = [Text(each.caption[:SIDE].center(SIDE), style="dim") for each in pictures]
    return [*lines, _joined(captions)]


def _line(image: Image.Image, y: int) -> Text:
    """Two rows of pixels."""
    line = Text()
    for x in range(SIDE):
        line.append("▀", Style(color=_colour(image, x, y), bgcolor=_colour(image, x, y + 1)))
    return line


def _colour(image: Image.Image, x: int, y: int) -> Color:
    pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return Color.from_rgb(*pixel)


def _joined(parts: Sequence[Text]) -> Text:
    return Text(GAP * " ") + Text(GAP * " ").join(parts)
