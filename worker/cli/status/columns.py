"""A table that cuts its first column and leaves out others where there is no room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from click import style

from worker.cli.output.columns import GAP
from worker.cli.output.screen import cells, fit
from worker.cli.output.table import printable

LEAST_FIRST_WIDTH = 12
Row = TypeVar("Row")


def _plain(_: object) -> str | None:
    return None


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        heading: Its name.
        cell: The text for a row.
        rank: The column with the highest rank is left out first; that of rank 0 never.
        is_text: Whether it is aligned to the left.
        colour: Of a row's cell; None for the terminal's own.
    """

    heading: str
    cell: Callable[[Row], str]
    rank: int
    is_text: bool = False
    colour: Callable[[Row], str | None] = _plain


def table_lines(
    columns: Sequence[Column[Row]], rows: Sequence[Row], width: int | None
) -> Iterator[str]:
    """The lines of a table, its headings first.

    Args:
        columns: From left to right.
        rows: One for each line.
        width: Of the screen; None to keep all columns.
    """
    texts = {column.heading: _texts(column, rows) for column in columns}
    widths = {heading: max(map(cells, column)) for heading, column in texts.items()}
    if width is not None:
        first = columns[0].heading
        widths[first] = min(widths[first], max(LEAST_FIRST_WIDTH, width // 4))
    kept = _fitting(columns, widths, width)
    for number in range(len(rows) + 1):
        parts = [
            _padded(texts[column.heading][number], widths[column.heading], left=column.is_text)
            for column in kept
        ]
        if number == 0:
            yield style(GAP.join(parts).rstrip(), dim=True)
        else:
            colours = [column.colour(rows[number - 1]) for column in kept]
            styled = [
                style(part, fg=colour) if colour else part
                for part, colour in zip(parts, colours, strict=True)
            ]
            yield GAP.join(styled).rstrip()


def _texts(column: Column[Row], rows: Sequence[Row]) -> list[str]:
    return [column.heading, *(printable(column.cell(row)) for row in rows)]


def _fitting(
    columns: Sequence[Column[Row]], widths: dict[str, int], width: int | None
) -> list[Column[Row]]:
    kept = list(columns)
    while width is not None and _total(kept, widths) > width:
        least = max(kept, key=lambda column: column.rank)
        if not least.rank:
            break
        kept.remove(least)
    return kept


def _total(columns: Sequence[Column[Row]], widths: dict[str, int]) -> int:
    return sum(widths[column.heading] + len(GAP) for column in columns) - len(GAP)


def _padded(text: str, width: int, *, left: bool) -> str:
    return fit(text, width) if left else " " * (width - cells(text)) + text
