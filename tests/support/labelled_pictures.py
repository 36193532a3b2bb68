"""A table of pictures of the demo model's world with their labels, for calibrations."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LABELS = ("red circle", "blue star", "green square")
NO_LABEL = ("yellow", "moon")
COUNT = 60


def write_labelled_pictures(folder: Path) -> None:
    """Write 12 pictures of each label and 24 of none, `rows.csv` and `labels.txt`."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number in range(COUNT):
        label = LABELS[number % 5] if number % 5 < len(LABELS) else ""
        colour, shape = label.split() if label else NO_LABEL
        size = ("small", "medium", "large")[number % 3]
        ground = ("white", "grass", "sand", "grey")[number % 4]
        scene = Scene("centre", size, colour, "solid", shape, ground)
        draw_scene(scene, (96, 96), number).save(folder / f"{number}.png")
        rows.append((f"{number}.png", label))
    (folder / "labels.txt").write_text("\n".join(LABELS), "utf-8")
    write_rows(folder / "rows.csv", rows)


def write_rows(
    file: Path,
    rows: Iterable[Sequence[str]],
    heading: Sequence[str] = ("image", "label"),
    delimiter: str = ",",
) -> None:
    """Write a table; its lines end in CRLF, as Excel's do."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened, delimiter=delimiter).writerows([heading, *rows])


def read_rows(folder: Path) -> list[list[str]]:
    """The rows of `rows.csv`, without its heading."""
    return list(csv.reader((folder / "rows.csv").read_text("utf-8").splitlines()))[1:]
