"""Tables of JSON lines: an object per line, with the image in one of its members."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from clip_worker.contract.text import read_json
from clip_worker.feeds.item import Item
from clip_worker.feeds.table_images import TableImages, image_column
from clip_worker.feeds.text_file import TextFile, position_of, read_position
from clip_worker.quoting import shown_uri


class JsonlFeed:
    """The rows of a JSON lines file; empty lines are skipped.

    A line that is not an object, or has no image, is an image that fails.

    Args:
        path: Of the file.
        column: Member with the image; None for a usual name, which the first line has.
        root: Folder that paths are relative to; the file's by default.
    """

    def __init__(self, path: Path, column: str | None = None, root: Path | None = None) -> None:
        self._path = path
        self._file = TextFile(path)
        self._images = TableImages(path, root)
        self._wanted = column

    @cached_property
    def total(self) -> int:
        """How many lines there are."""
        return self._file.count()

    def items(self, position: str | None) -> Iterator[Item]:
        """See `Feed.items`.

        Raises:
            InvalidRequestError: `BAD_FEED`: the first line has no such member.
        """
        offset, row = read_position(position)
        column = self._column()
        for line in self._file.lines(offset):
            row += 1
            if line.strip():
                fields, fault = _object(line, row)
                image = fields.pop(column, None)
                at = position_of(self._file.offset, row)
                yield self._images.item(row, image, fields, at, fault)

    def _column(self) -> str:
        first = next(filter(str.strip, TextFile(self._path).lines()), "{}")
        return image_column([*_object(first, 1)[0]], self._wanted, self._path)


def _object(line: str, row: int) -> tuple[dict[str, Any], str]:
    try:
        value = read_json(line.encode())
    except ValueError as error:
        return {}, f"Row {row} is not valid JSON: {error}."
    if not isinstance(value, dict):
        return {}, f"Row {row} is not a JSON object, but {shown_uri(value)}."
    return value, ""
