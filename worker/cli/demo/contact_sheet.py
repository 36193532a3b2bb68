"""Pictures on a terminal, two pixels a character: `▀` has a colour above and one below."""

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
    """Print small pictures side by side, with their files' names, less the suffix, below.

    Nothing is printed where the output is no terminal, or has too few colours.

    Args:
        console: Where to.
        paths: Image files, of any size.
    """
    if console.color_system not in COLOUR_SYSTEMS or not has_blocks(console.encoding):
        return
    fitting = max(1, console.width // (SIDE + GAP))
    rows = math.ceil(len(paths) / fitting)
    a_row = math.ceil(len(paths) / rows)  # as many in each
    for first in range(0, len(paths), a_row):
        row = paths[first : first + a_row]
        pictures = [_thumbnail(path) for path in row]
        for y in range(0, SIDE, 2):
            console.print(_joined([_line(picture, y) for picture in pictures]))
        names = [Text(path.stem[:SIDE].center(SIDE), style="dim") for path in row]
        console.print(_joined(names))


def _thumbnail(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return ImageOps.fit(picture.convert("RGB"), (SIDE, SIDE), Image.Resampling.BOX)


def _line(picture: Image.Image, y: int) -> Text:
    """Two rows of pixels."""
    line = Text()
    for x in range(SIDE):
        line.append("▀", Style(color=_colour(picture, x, y), bgcolor=_colour(picture, x, y + 1)))
    return line


def _colour(picture: Image.Image, x: int, y: int) -> Color:
    pixel = picture.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return Color.from_rgb(*pixel)


def _joined(parts: Sequence[Text]) -> Text:
    return Text(GAP * " ") + Text(GAP * " ").join(parts)
