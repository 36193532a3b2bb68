"""Draws images on a terminal, two pixels per character: `▀` has an upper and a lower colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from worker.cli.output.bar import has_blocks

SIDE = 14  # pixels, and columns
GAP = 2
COLOUR_SYSTEMS = ("256", "truecolor")


def print_contact_sheet(console: Console, paths: Sequence[Path]) -> None:
    """Print thumbnails side by side, with file names (without suffix) below.

    Nothing is printed if the output is not a terminal, or has too few colours.

    Args:
        console: Prints the images.
        paths: Image files of any size.
    """
    if console.color_system not in COLOUR_SYSTEMS or not has_blocks(console.encoding):
        return
    fitting = max(1, console.width // (SIDE + GAP))
    rows = math.ceil(len(paths) / fitting)
    per_row = math.ceil(len(paths) / rows)
    for first in range(0, len(paths), per_row):
        row = paths[first : first + per_row]
        images = [_thumbnail(path) for path in row]
        for y in range(0, SIDE, 2):
            console.print(_joined([_line(image, y) for image in images]))
        names = [Text(path.stem[:SIDE].center(SIDE), style="dim") for path in row]
        console.print(_joined(names))


def _thumbnail(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.BOX)


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
