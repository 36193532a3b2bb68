"""The table of what was measured, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from worker.cli.output.screen import cells
from worker.cli.tune.agreement import Agreement
from worker.cli.tune.measurement import Measurement

NOT_KNOWN = "-"
LEAST_SHOWN = 0.0001  # of a change of a probability


class Column(NamedTuple):
    """A heading, and the cell of a measurement."""

    heading: str
    cell: Callable[[Measurement], str]


def table(measured: Sequence[Measurement], columns: Sequence[Column]) -> list[str]:
    """The lines of one table; its first column is aligned to the left, the others to the right."""
    rows = [[column.cell(each) for column in columns] for each in measured]
    texts = [[column.heading for column in columns], *rows]
    widths = [max(map(cells, column)) for column in zip(*texts, strict=True)]
    head, *body = ["| " + " | ".join(_aligned(row, widths)) + " |" for row in texts]
    rule = "|".join([f":{'-' * widths[0]}-", *(f"-{'-' * width}:" for width in widths[1:])])
    return [head, f"|{rule}|", *body]


def tables(measured: Sequence[Measurement], name: str, width: int | None) -> list[list[str]]:
    """One table, or one of the speed and one of the agreement if a terminal is too narrow.

    Args:
        measured: Its rows.
        name: Of the settings as they are.
        width: Columns of the terminal; None for any width.
    """
    settings = Column("settings", lambda each: settings_name(each, name))
    speed = [column for column in SPEED if any(column.cell(each) != NOT_KNOWN for each in measured)]
    whole = table(measured, [settings, *speed, *AGREEMENT])
    if width is None or cells(whole[0]) <= width:
        return [whole]
    return [table(measured, [settings, *speed]), table(measured, [settings, *AGREEMENT])]


def settings_name(found: Measurement, name: str) -> str:
    """What differs from the settings as they are, or their name with their precision."""
    precision = f" ({found.facts.precision})" if found.facts else ""
    return found.configuration.named(name + precision)


def milliseconds(seconds: float | None) -> str:
    """As a cell of the table.

    >>> milliseconds(0.01234), milliseconds(None)
    ('12.3', '-')
    """
    if seconds is None:
        return NOT_KNOWN
    return f"{seconds * 1000:.1f}" if seconds < 1 else f"{seconds * 1000:,.0f}"


def rate(images_per_s: float) -> str:
    """As a cell of the table.

    >>> rate(0), rate(3.14159), rate(1234.5)
    ('-', '3.1', '1,234')
    """
    if not images_per_s:
        return NOT_KNOWN
    return f"{images_per_s:,.1f}" if images_per_s < 100 else f"{images_per_s:,.0f}"


def megabytes(count: int | None) -> str:
    """As a cell of the table.

    >>> megabytes(1_234_567_890)
    '1,235'
    """
    return NOT_KNOWN if count is None else f"{count / 1e6:,.0f}"


def change(probability: float) -> str:
    """As a cell of the table.

    >>> change(0.0), change(0.00001), change(0.01234)
    ('0', '<0.0001', '0.0123')
    """
    if not probability:
        return "0"
    return f"{probability:.4f}" if probability >= LEAST_SHOWN else f"<{LEAST_SHOWN}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    pads = [" " * (width - cells(text)) for text, width in zip(row, widths, strict=True)]
    return [
        pad + text if place else text + pad
        for place, (text, pad) in enumerate(zip(row, pads, strict=True))
    ]


def _of_agreement(heading: str, cell: Callable[[Agreement], str]) -> Column:
    return Column(heading, lambda each: cell(each.agreement) if each.agreement else NOT_KNOWN)


SPEED = (
    Column("images/s", lambda each: rate(each.images_per_s)),
    Column("p50, ms", lambda each: milliseconds(each.latency_s(0.5))),
    Column("p99, ms", lambda each: milliseconds(each.latency_s(0.99))),
    Column("CPU, ms", lambda each: milliseconds(each.cpu_s)),
    Column("memory, MB", lambda each: megabytes(each.memory_bytes)),
    Column("GPU, MB", lambda each: megabytes(each.gpu_bytes)),
)
AGREEMENT = (
    _of_agreement("top-1", lambda found: f"{found.top_1:.1%}"),
    _of_agreement("top-5", lambda found: f"{found.top_5:.1%}"),
    _of_agreement("in order", lambda found: f"{found.top_5_in_order:.1%}"),
    _of_agreement("change p99", lambda found: change(found.change_p99)),
    _of_agreement("largest", lambda found: change(found.largest_change)),
)
