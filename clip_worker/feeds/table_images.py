"""From a row of a table to an item: its image, and the other columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clip_worker.contract.text import decoded
from clip_worker.contract.uri import scheme_of
from clip_worker.errors import InvalidRequestError
from clip_worker.feeds.item import Item
from clip_worker.quoting import quote, shown_uri

IMAGE_COLUMNS = ("image", "url", "uri", "path")  # the first of them that a table has
MOST_DEPTH = 100  # of a value's lists and objects; what writes JSON allows 255 in all


class TableImages:
    """Makes the items of one table.

    An image is a URI, or else the path of a file in the root or below it. Nothing else is read: a
    table may come from strangers.

    Args:
        table: Path of the table; its name begins the items' keys.
        root: Folder that paths are relative to; the table's by default.
    """

    def __init__(self, table: Path, root: Path | None = None) -> None:
        self._name = table.name
        self._root = (root or table.parent).resolve()

    def item(
        self, row: int, image: object, fields: Mapping[str, Any], position: str, fault: str = ""
    ) -> Item:
        """The item of a row.

        Args:
            row: Its number, from 1 on.
            image: What it has in the column of images.
            fields: Its other columns.
            position: Where the table continues after it.
            fault: What is wrong with it, if the row can't be read.
        """
        key = f"{self._name}:{row}"
        if _is_deeper(fields.values(), MOST_DEPTH):
            fields = {}
            fault = f"Row {row} has a value of more than {MOST_DEPTH} lists or objects in another."
        if image is None or image == "":
            fault = fault or f"Row {row} has no URI or path."
        if fault or not isinstance(image, str):
            fault = fault or f"Row {row} has no URI or path, but {shown_uri(image)}."
            return Item(key, "", None, fields, position, fault)
        if _is_uri(image):
            return Item(key, image, None, fields, position)
        path, fault = self._path(image)
        return Item(key, decoded(image) or quote(image), path, fields, position, fault)

    def _path(self, image: str) -> tuple[Path | None, str]:
        try:
            path = (self._root / image).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a NUL, a loop of links
            return None, f"{quote(image)} is neither a URI nor a path: {error}."
        if image and path.is_relative_to(self._root) and path != self._root:
            return path, ""
        return None, (
            f"{quote(image)} is neither a URI nor the path of a file below "
            f"{quote(str(self._root))}; name the folder of the pictures with --root."
        )


def image_column(columns: Sequence[str], wanted: str | None, table: Path) -> str:
    """The column of a table that has the images.

    Args:
        columns: Names of its columns.
        wanted: The column that was asked for; None for the first of `IMAGE_COLUMNS`.
        table: Path of the table, for errors.

    Raises:
        InvalidRequestError: `BAD_FEED`: there is no such column.
    """
    for name in IMAGE_COLUMNS if wanted is None else (wanted,):
        if name in columns:
            return name
    if not any(columns):
        raise InvalidRequestError(
            f"The table {quote(str(table))} is empty or begins with an empty line; its first line "
            "has to have the names of the columns.",
            "BAD_FEED",
        )
    missing = quote(wanted) if wanted else " or ".join(map(repr, IMAGE_COLUMNS))
    raise InvalidRequestError(
        f"The table {quote(str(table))} has no column {missing}; name one of its columns with "
        f"--image-column: {quote(', '.join(columns))}.",
        "BAD_FEED",
    )


def _is_deeper(values: Iterable[Any], depth: int) -> bool:
    """Whether one of the values is nested more deeply."""
    nested = (each for each in values if isinstance(each, Mapping | list | tuple))
    return any(
        not depth or _is_deeper(each.values() if isinstance(each, Mapping) else each, depth - 1)
        for each in nested
    )


def _is_uri(text: str) -> bool:
    try:
        scheme_of(text)
    except InvalidRequestError:
        return False
    return True
