"""Draws docs/images/demo.png: eight of the demo's images with the labels that the model finds.

.venv/bin/python scripts/draw_readme_picture.py
"""

from __future__ import annotations

from pathlib import Path

from clip_engine import load_engine
from worker.cli.demo.contact_sheet import draw_tiles
from worker.cli.demo.images import DEMO_IMAGES

TARGET = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
LEFT_OUT = {"stars.jpg", "kite.png", "clover.jpg", "signs.jpg"}


def main() -> None:
    """Tag the images and lay them out."""
    engine = load_engine("demo")
    shown = [image for image in DEMO_IMAGES if image.file_name not in LEFT_OUT]
    tagged = [(each.path, engine.classify([each.path], each.labels, k=4)[0]) for each in shown]
    draw_tiles(tagged).quantize(200).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
