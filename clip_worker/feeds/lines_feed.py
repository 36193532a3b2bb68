"""Lists of images: one URI or path per line."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from clip_worker.feeds.item import Item
from clip_worker.feeds.table_images import TableImages
from clip_worker.feeds.text_file import TextFile, position_of, read_position


class LinesFeed:
    """The images of a text file; empty lines are skipped.

    Args:
        path: Of the file.
        root: Folder that paths are relative to; the file's by default.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self._file = TextFile(path)
        self._images = TableImages(path, root)

    @cached_property
    def total(self) -> int:
        """How many lines there are."""
        return self._file.count()

    def items(self, position: str | None) -> Iterator[Item]:
        """See `Feed.items`."""
        offset, row = read_position(position)
        for line in self._file.lines(offset):
            row += 1
            if image := line.strip():
                yield self._images.item(row, image, {}, position_of(self._file.offset, row))
