"""Draws docs/images/demo.png: the demo's images with the labels that the demo model finds.

.venv/bin/python scripts/draw_readme_picture.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

from clip_engine import load_engine
from worker.cli.demo.images import DEMO_IMAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_engine import Prediction

TARGET = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
COLUMNS, SIDE, TEXT, GAP = 4, 216, 66, 18  # SIDE, TEXT and GAP in pixels
LABELS = 3  # shown an image
LEFT_OUT = {"stars.jpg", "kite.png", "clover.jpg", "signs.jpg"}
INK, PALE, GREEN = "#24292f", "#8b949e", "#1a7f37"


def main() -> None:
    """Tag the images and lay them out."""
    engine = load_engine("demo")
    tiles = []
    for shown in (each for each in DEMO_IMAGES if each.file_name not in LEFT_OUT):
        (found,) = engine.classify([shown.path], shown.labels, k=LABELS)
        with Image.open(shown.path) as image:
            tiles.append(_tile(image.convert("RGB"), found))
    rows = -(-len(tiles) // COLUMNS)
    width, height = COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + TEXT + GAP) + GAP
    sheet = Image.new("RGB", (width, height), "white")
    for i, tile in enumerate(tiles):
        row, column = divmod(i, COLUMNS)
        sheet.paste(tile, (GAP + column * (SIDE + GAP), GAP + row * (SIDE + TEXT + GAP)))
    sheet.quantize(96).save(TARGET, optimize=True)


def _tile(image: Image.Image, found: Sequence[Prediction]) -> Image.Image:
    """A square image above its labels, the most probable first."""
    tile = Image.new("RGB", (SIDE, SIDE + TEXT), "white")
    tile.paste(ImageOps.fit(image, (SIDE, SIDE)), (0, 0))
    draw = ImageDraw.Draw(tile)
    font = ImageFont.load_default(12)
    for i, prediction in enumerate(found):
        y = SIDE + 6 + 20 * i
        colour = INK if i == 0 else PALE
        share = f"{prediction.probability:.1%}"
        draw.text((0, y), prediction.label, colour, font)
        draw.text((SIDE, y), share, colour, font, anchor="ra")
        if (width := round(SIDE * prediction.probability)) > 0:
            draw.rectangle((0, y + 16, width - 1, y + 18), GREEN)
    return tile


if __name__ == "__main__":
    main()
