"""Tables of comma-separated values, as spreadsheets and databases write them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.feeds.item import Item
from clip_worker.feeds.table_images import TableImages, image_column
from clip_worker.feeds.text_file import MOST_LINE_BYTES, TextFile, position_of, read_position
from clip_worker.quoting import quote

DELIMITERS = ",;\t"


class CsvFeed:
    """The rows of a CSV file in UTF-8, whose first line has the names of the columns.

    The delimiter is the comma, the semicolon or the tab: the one that occurs most often in the
    first line, outside of quotation marks. Empty lines are skipped.

    Args:
        path: Of the file.
        column: Column with the image; None for a usual name.
        root: Folder that paths are relative to; the file's by default.
    """

    def __init__(self, path: Path, column: str | None = None, root: Path | None = None) -> None:
        self._path = path
        self._file = TextFile(path)
        self._images = TableImages(path, root)
        self._wanted = column

    @cached_property
    def total(self) -> int:
        """How many rows there are."""
        return max(0, self._file.count('"') - 1)

    def items(self, position: str | None) -> Iterator[Item]:
        """See `Feed.items`.

        Raises:
            InvalidRequestError: `BAD_FEED`: there is no such column.
            ServiceError: `FEED_FAILED`: it can't be read, or is not CSV in UTF-8.
        """
        csv.field_size_limit(MOST_LINE_BYTES)
        names, delimiter, begin = self._header()
        column = image_column(names, self._wanted, self._path)
        offset, row = read_position(position)
        reader = csv.reader(self._file.lines(offset or begin), delimiter=delimiter, strict=True)
        for cells in self._checked(reader):
            row += 1
            if cells:
                fields = dict(zip(names, cells, strict=False))
                image = fields.pop(column, "")
                fault = _fault(row, cells, names)
                at = position_of(self._file.offset, row)
                yield self._images.item(row, image, fields, at, fault)

    def _header(self) -> tuple[list[str], str, int]:
        """The columns' names, the delimiter, and the offset of the first row."""
        lines = TextFile(self._path)
        text = lines.lines()
        first = next(text, "")
        delimiter = max(DELIMITERS, key="".join(first.split('"')[::2]).count)
        reader = csv.reader(_with_first(first, text), delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(self._checked(reader), [])]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidRequestError(
                f"The table {quote(str(self._path))} has two columns {quote(twice)}; rename one.",
                "BAD_FEED",
            )
        return names, delimiter, lines.offset

    def _checked(self, reader: Iterator[list[str]]) -> Iterator[list[str]]:
        try:
            yield from reader
        except csv.Error as error:
            raise ServiceError(
                f"The table {quote(str(self._path))} is not valid CSV before byte "
                f"{self._file.offset:,}: {error}; put cells with quotation marks, commas or line "
                "breaks in quotation marks, and double those inside.",
                "FEED_FAILED",
            ) from error


def _with_first(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others


def _fault(row: int, cells: list[str], names: list[str]) -> str:
    if len(cells) == len(names):
        return ""
    return f"Row {row} has {len(cells)} cells, and the table {len(names)} columns."
