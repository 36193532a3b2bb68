"""Reads CSV files as people's programs write them, row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from clip_worker.quoting import quote
from worker.cli.output.usage_error import WrongInputError

DELIMITERS = ",;\t"
MOST_CELL_CHARS = 64 * 1024 * 1024  # an image as a data: URI


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row, and the number of the line that it begins in, from 1 on."""

    line: int
    cells: list[str]


def read_rows(path: Path) -> Iterator[CsvRow]:
    """The rows of a file in UTF-8, with or without a byte order mark; empty lines are skipped.

    The delimiter is the comma, the semicolon or the tab: the one that occurs most often in the
    first line, outside of quotation marks.

    Raises:
        WrongInputError: It can't be read, or is not CSV in UTF-8.
    """
    csv.field_size_limit(MOST_CELL_CHARS)
    begins_in = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(file), strict=True)
            for cells in reader:
                if cells:
                    yield CsvRow(begins_in, cells)
                begins_in = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise not_utf8(path, begins_in, "after") from error
    except csv.Error as error:
        raise WrongInputError(
            f"{path}, line {begins_in}, is not valid CSV: {error}; put cells with quotation marks, "
            "commas or line breaks in quotation marks, and double those inside."
        ) from error
    except OSError as error:
        raise WrongInputError(
            f"The file {quote(str(path))} can't be read: {error.strerror}."
        ) from error


def not_utf8(path: Path, line: int, where: str = "in") -> WrongInputError:
    """The error for a file in another encoding."""
    return WrongInputError(
        f"{path} is not UTF-8 text ({where} line {line}); save it as UTF-8, which Excel calls "
        "'CSV UTF-8'."
    )


def _delimiter(file: TextIO) -> str:
    outside = "".join(file.readline().split('"')[::2])
    file.seek(0)
    return max(DELIMITERS, key=outside.count)  # the first of them where none occurs
