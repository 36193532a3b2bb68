"""Reads the CSV of a calibration: which image has which label."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from clip_worker.quoting import quote
from worker.cli.csv_file import CsvRow, read_rows
from worker.cli.labels.label_index import LabelIndex
from worker.cli.output.usage_error import WrongInputError

IMAGE, LABEL = "image", "label"
MOST_FAULTS = 5  # that are listed


class LabelledImage(NamedTuple):
    """A row: its line, the image as written, and the label's position, or -1 for none."""

    line: int
    image: str
    right: int


@dataclass(slots=True)
class LabelledImages:
    """Rows of a CSV file.

    Attributes:
        total: How many there are.
        kept: All of them, or a random part, in the file's order.
    """

    total: int = 0
    kept: list[LabelledImage] = field(default_factory=list)


def read_labelled_images(path: Path, labels: LabelIndex, most: int) -> LabelledImages:
    """Read and check all rows, and keep at most so many; the same ones each time.

    Args:
        path: A CSV file whose first line names the columns image and label, among others.
        labels: Those that a row may have.
        most: How many rows are kept.

    Raises:
        WrongInputError: Columns are missing, or rows are wrong: the first five are named.
    """
    found, faults = LabelledImages(), _Faults(path)
    dice = random.Random(0)  # noqa: S311  # not for secrets
    for row in _checked(path, labels, faults):
        found.total += 1
        if len(found.kept) < most:
            found.kept.append(row)
        elif (place := dice.randrange(found.total)) < most:  # reservoir sampling
            found.kept[place] = row
    faults.raise_any()
    found.kept.sort()
    return found


class _Faults:
    """Collects what is wrong with rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sentences: list[str] = []
        self._count = 0

    def add(self, line: int, sentence: str) -> None:
        self._count += 1
        if len(self._sentences) < MOST_FAULTS:
            self._sentences.append(f"{self._path}, line {line}: {sentence}")

    def raise_any(self) -> None:
        if self._count > MOST_FAULTS:
            self._sentences.append(f"And {self._count - MOST_FAULTS:,} more rows are wrong.")
        if self._sentences:
            raise WrongInputError("\n".join(self._sentences))


def _checked(path: Path, labels: LabelIndex, faults: _Faults) -> Iterator[LabelledImage]:
    rows = read_rows(path)
    image_column, label_column = _columns(path, next(rows, None))
    for row in rows:
        if len(row.cells) <= max(image_column, label_column):
            faults.add(row.line, f"it has {len(row.cells)} cells, fewer than the first line.")
            continue
        image, label = row.cells[image_column].strip(), row.cells[label_column].strip()
        right = labels.find(label)
        if not image:
            faults.add(row.line, "it has no image.")
        elif right is None:
            faults.add(row.line, labels.unknown(label))
        else:
            yield LabelledImage(row.line, image, right)


def _columns(path: Path, first: CsvRow | None) -> tuple[int, int]:
    headings = [cell.strip().lower() for cell in first.cells] if first else []
    for name in (IMAGE, LABEL):
        if headings.count(name) != 1:
            shown = quote(", ".join(headings))
            raise WrongInputError(
                f"The first line of {path} is {shown}; name the columns, one of them {IMAGE} and "
                f"one {LABEL}."
            )
    return headings.index(IMAGE), headings.index(LABEL)
