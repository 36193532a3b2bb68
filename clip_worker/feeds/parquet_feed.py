"""Tables in Parquet files, with pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from clip_worker.errors import ServiceError
from clip_worker.feeds.item import Item
from clip_worker.feeds.table_images import TableImages, image_column
from clip_worker.quoting import quote

BATCH = 1_000  # rows that are in memory at a time, beside pyarrow's buffers


class ParquetFeed:
    """The rows of a Parquet file.

    Args:
        path: Of the file.
        column: Column with the image; None for a usual name.
        root: Folder that paths are relative to; the file's by default.
    """

    def __init__(self, path: Path, column: str | None = None, root: Path | None = None) -> None:
        self._path = path
        self._images = TableImages(path, root)
        self._wanted = column

    @cached_property
    def total(self) -> int:
        """How many rows there are."""
        with self._opened() as file:
            return int(file.metadata.num_rows)

    def items(self, position: str | None) -> Iterator[Item]:
        """See `Feed.items`.

        Raises:
            InvalidRequestError: `BAD_FEED`: there is no such column.
            ServiceError: `FEED_FAILED`: it can't be read; `NO_PYARROW`.
        """
        done = int(position or 0)
        with self._opened() as file:
            import pyarrow as pa

            column = image_column(file.schema_arrow.names, self._wanted, self._path)
            try:
                for row, read in enumerate(_rows(file, done), done + 1):
                    fields = {} if isinstance(read, Exception) else read
                    fault = f"Row {row} can't be read: {_sentence(read)}." if not fields else ""
                    image = fields.pop(column, "")
                    yield self._images.item(row, image, fields, str(row), fault)
            except (pa.ArrowException, OSError) as error:
                raise self._failed(error) from error

    def _opened(self) -> Any:
        try:
            import pyarrow as pa
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise ServiceError(
                'Parquet needs pyarrow; run pip install "clip-worker[parquet]".', "NO_PYARROW"
            ) from error
        try:
            return ParquetFile(self._path)
        except (pa.ArrowException, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"The table {quote(str(self._path))} can't be read: {_sentence(error)}; check that it "
            "is a complete Parquet file.",
            "FEED_FAILED",
        )


def _sentence(error: object) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _rows(file: Any, skipped: int) -> Iterator[dict[str, Any] | Exception]:
    """The rows of a file after the first ones, whose row groups are not read.

    An error stands for a row that Python can't hold: a text that is not UTF-8, the year 10000.
    """
    groups: list[int] = []
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        if not groups and skipped >= rows:
            skipped -= rows
        else:
            groups.append(number)
    if not groups:
        return
    for batch in file.iter_batches(batch_size=BATCH, row_groups=groups):
        kept = batch.slice(min(skipped, len(batch)))
        skipped -= len(batch) - len(kept)
        yield from _read(kept)


def _read(batch: Any) -> Sequence[dict[str, Any] | Exception]:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (ArithmeticError, ValueError) as error:  # pyarrow's own are ValueErrors, too
        if len(batch) == 1:
            return [error]
        return [read for row in range(len(batch)) for read in _read(batch.slice(row, 1))]
    return rows
