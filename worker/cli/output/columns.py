"""Plain tables, with columns as wide as their widest cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

GAP = "  "


def print_columns(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with headings on stdout."""
    table = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(GAP.join(cells).rstrip())
