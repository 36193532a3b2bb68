r"""Reads files of labels: one label per line, a CSV file with a column of labels, or a JSON list.

In a text file, blank lines are skipped, and lines that begin with `#` and a space, `##`, or have
nothing but `#`: comments. `#sunset` is a label. A file that begins with `[` or `{` is JSON, as
`labels show --json` prints it, whatever its name. A name that ends in `.csv` or `.tsv` means a
table: of its only column, or of the one with the heading `label` (or `labels`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_worker.contract import MAX_LABELS
from clip_worker.quoting import quote
from worker.cli.csv_file import CsvRow, not_utf8, read_rows
from worker.cli.output.usage_error import WrongInputError

HEADINGS = ("label", "labels")
TABLES = (".csv", ".tsv")
STDIN = "-"

_COMMENT = re.compile(r"#([\s#]|$)")
_LIST = re.compile(r'(?:\A\s*|"labels"\s*:\s*)(?P<list>\[)\s*')
_BETWEEN = re.compile(r"\s*,?\s*")


@dataclass(frozen=True, slots=True)
class LabelLine:
    """A label, and the number of the line that it begins in, from 1 on."""

    line: int
    label: str


def read_label_file(path: Path) -> list[LabelLine]:
    """The labels of a file, in order, without the spaces around them.

    Blank ones are left out of a text file, and are there in CSV and JSON.

    Raises:
        WrongInputError: It can't be read, or has no labels, or more than a request may have.
    """
    labels = list(_labels(path))
    if not labels:
        raise WrongInputError(f"The file {quote(str(path))} has no labels; write one per line.")
    if len(labels) > MAX_LABELS:
        raise WrongInputError(
            f"The file {quote(str(path))} has {len(labels):,} labels; a request may have "
            f"{MAX_LABELS:,}."
        )
    return labels


def _labels(path: Path) -> Iterator[LabelLine]:
    if path.suffix.lower() in TABLES:
        yield from _in_table(path)
        return
    text = _read_text(path)
    if text.lstrip()[:1] in ("[", "{"):
        yield from _in_json(path, text)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not _COMMENT.match(line.strip()):
            yield LabelLine(number, line.strip())


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WrongInputError(
            f"The file {quote(str(path))} can't be read: {error.strerror}."
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise not_utf8(path, line) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _in_table(path: Path) -> Iterator[LabelLine]:
    rows = read_rows(path)
    first = next(rows, None)
    if first is None:
        return
    headings = [cell.strip().lower() for cell in first.cells]
    column = next((place for place, name in enumerate(headings) if name in HEADINGS), None)
    if column is None:
        yield LabelLine(first.line, _only_cell(path, first))
    for row in rows:
        label = _only_cell(path, row) if column is None else _cell(row, column)
        yield LabelLine(row.line, label)


def _only_cell(path: Path, row: CsvRow) -> str:
    if len(row.cells) > 1:
        raise WrongInputError(
            f"{path}, line {row.line}, has {len(row.cells)} columns; give a first line that names "
            "one of them label, or put a label that has a comma in quotation marks."
        )
    return _cell(row, 0)


def _cell(row: CsvRow, column: int) -> str:
    return row.cells[column].strip() if column < len(row.cells) else ""


def _in_json(path: Path, text: str) -> Iterator[LabelLine]:
    """The strings of the list, each with the line that it is in."""
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise WrongInputError(f"{path} is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise WrongInputError(f"{path} is JSON that is nested too deeply.") from error
    listed = whole.get("labels") if isinstance(whole, dict) else whole
    if not isinstance(listed, list):
        raise WrongInputError(f'{path} is JSON without a list of labels; write ["cat", "dog"].')
    position = _start(text, listed)
    for _ in listed:
        label, end = json.JSONDecoder().raw_decode(text, position)
        line = text.count("\n", 0, position) + 1
        if not isinstance(label, str):
            raise WrongInputError(f"{path}, line {line}: {quote(label)} is not a string.")
        yield LabelLine(line, label.strip())
        between = _BETWEEN.match(text, end)
        assert between is not None
        position = between.end()


def _start(text: str, listed: list[Any]) -> int:
    """Where the first item of the list stands."""
    decode = json.JSONDecoder().raw_decode
    found = (
        match.end()
        for match in _LIST.finditer(text)
        if decode(text, match.start("list"))[0] == listed
    )
    return next(found)
