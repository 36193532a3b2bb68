"""Reads a label set from a file: its labels, and in CSV and JSON what else belongs to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clip_worker.quoting import quote
from worker.cli.csv_file import read_rows
from worker.cli.label_file import TABLES, read_label_file
from worker.cli.output.usage_error import WrongInputError

THRESHOLD = "threshold"  # heading of a column
SHOWN = ("name", "version", "number")  # that `labels show --json` prints, and a file can't decide


def read_set_file(path: Path) -> dict[str, Any]:
    """The fields of a label set, not checked yet.

    A CSV file may have a column `threshold`. A JSON object may have `templates`, `thresholds`,
    `score`, `hierarchical` and `calibration`, as `labels show --json` prints them.

    Raises:
        WrongInputError: The file can't be read, or has no labels.
    """
    fields: dict[str, Any] = {"labels": [line.label for line in read_label_file(path)]}
    if path.suffix.lower() in TABLES:
        return fields | _of_table(path)
    text = path.read_text(encoding="utf-8-sig")
    return fields | (_of_object(json.loads(text)) if text.lstrip().startswith("{") else {})


def _of_object(found: dict[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in found.items() if name not in (*SHOWN, "labels")}
    if isinstance(calibration := fields.get("calibration"), dict):
        fields["calibration"] = {name: each for name, each in calibration.items() if name != "id"}
    return fields


def _of_table(path: Path) -> dict[str, Any]:
    rows = read_rows(path)
    headings = [cell.strip().lower() for cell in next(rows).cells]
    if THRESHOLD not in headings:
        return {}
    column = headings.index(THRESHOLD)
    return {
        "thresholds": [
            _threshold(path, row.line, row.cells[column] if column < len(row.cells) else "")
            for row in rows
        ]
    }


def _threshold(path: Path, line: int, cell: str) -> float | None:
    try:
        return float(cell) if cell.strip() else None
    except ValueError as error:
        raise WrongInputError(
            f"{path}, line {line}: the threshold {quote(cell)} is not a number; write one such as "
            "0.25, or leave it empty."
        ) from error
