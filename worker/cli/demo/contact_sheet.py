"""Draws the demo's images with their labels onto one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont, ImageOps

COLUMNS, SIDE, GAP = 4, 216, 18  # SIDE and GAP in pixels
LABELS, LINE, MARGIN = 4, 20, 6  # shown an image; pixels a label, and above the first
THUMBNAIL = 20  # pixels
INK, PALE, GREEN, RED = "#24292f", "#8b949e", "#1a7f37", "#ff0000"
WIDTH = COLUMNS * (SIDE + GAP) + GAP


class Prediction(Protocol):
    """A label and its probability: the client's or the engine's."""

    @property
    def label(self) -> str:
        """The label."""

    @property
    def probability(self) -> float:
        """In [0, 1]."""


def draw_tiles(tagged: Sequence[tuple[Path, Sequence[Prediction]]]) -> Image.Image:
    """Draw each image above its labels.

    Args:
        tagged: Image files and their predictions, the most probable first; four are shown.
    """
    text = MARGIN + LABELS * LINE
    rows = -(-len(tagged) // COLUMNS)
    sheet = Image.new("RGB", (WIDTH, rows * (SIDE + text + GAP) + GAP), "white")
    for i, (path, predictions) in enumerate(tagged):
        row, column = divmod(i, COLUMNS)
        place = (GAP + column * (SIDE + GAP), GAP + row * (SIDE + text + GAP))
        sheet.paste(_tile(path, predictions[:LABELS], text), place)
    return sheet


def draw_mosaic(images: Sequence[tuple[Path, bool]], caption: str) -> Image.Image:
    """Draw many thumbnails under a caption, those of wrong answers in a red frame.

    Args:
        images: Image files, each with whether its answer is right.
        caption: One line.
    """
    columns = (WIDTH - 2 * GAP) // THUMBNAIL
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (WIDTH, LINE + rows * THUMBNAIL + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 0), caption, INK, ImageFont.load_default(12))
    for i, (path, is_right) in enumerate(images):
        row, column = divmod(i, columns)
        x, y = GAP + column * THUMBNAIL, LINE + row * THUMBNAIL
        with Image.open(path) as image:
            sheet.paste(ImageOps.fit(image.convert("RGB"), (THUMBNAIL, THUMBNAIL)), (x, y))
        if not is_right:
            draw.rectangle((x, y, x + THUMBNAIL - 1, y + THUMBNAIL - 1), outline=RED, width=2)
    return sheet


def stack(images: Sequence[Image.Image]) -> Image.Image:
    """Put images of the same width on top of each other."""
    sheet = Image.new("RGB", (images[0].width, sum(image.height for image in images)), "white")
    y = 0
    for image in images:
        sheet.paste(image, (0, y))
        y += image.height
    return sheet


def _tile(path: Path, predictions: Sequence[Prediction], text: int) -> Image.Image:
    """A square image above its labels, the most probable first."""
    tile = Image.new("RGB", (SIDE, SIDE + text), "white")
    with Image.open(path) as image:
        tile.paste(ImageOps.fit(image.convert("RGB"), (SIDE, SIDE)), (0, 0))
    draw = ImageDraw.Draw(tile)
    font = ImageFont.load_default(12)
    for i, prediction in enumerate(predictions):
        y = SIDE + MARGIN + LINE * i
        colour = INK if i == 0 else PALE
        draw.text((0, y), prediction.label, colour, font)
        draw.text((SIDE, y), f"{prediction.probability:.1%}", colour, font, anchor="ra")
        if (width := round(SIDE * prediction.probability)) > 0:
            draw.rectangle((0, y + 16, width - 1, y + 18), GREEN)
    return tile
