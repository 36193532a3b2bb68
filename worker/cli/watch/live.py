"""Shows on a terminal how far a run is, and the newest images with their labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clip_worker.quoting import shown_uri
from worker.cli.output.stalled import stalled
from worker.cli.output.table import printable
from worker.cli.output.thumbnails import Picture, can_draw, per_row, picture_lines

if TYPE_CHECKING:
    from clip_worker.bulk.progress import Progress
    from clip_worker.sinks.row import Row

DRAW_S = 0.5
LINES = 8  # of the newest images, in words


class LiveView:
    """Draws the progress of a run while it is entered.

    Args:
        console: Of the terminal.
        title: What is watched, and where results go.
        clock: Monotonic seconds.
    """

    def __init__(
        self, console: Console, title: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._title = title
        self._clock = clock
        self._next = 0.0
        self._pictures: dict[str, Picture] = {}  # by key, those that are shown
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Note how far the run is."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + DRAW_S
        newest = list(progress.newest)[::-1]
        drawn = Group(*self._drawn(newest))
        view = Group(self._counts(progress), drawn, _lines(newest[:LINES]))
        self._live.update(view, refresh=True)

    def _counts(self, progress: Progress) -> Text:
        state = stalled(progress) or self._title
        if progress.is_stopping:
            state = "stopping: waiting for images in flight" if progress.in_flight else "stopped"
        return Text.assemble(
            (f"{progress.rate:,.1f} images/s", "bold"),
            f"   {progress.in_flight:,} waiting   {progress.done:,} done   ",
            (f"{progress.failed:,} failed", "red" if progress.failed else ""),
            ("\n" + printable(state), "dim"),
            no_wrap=True,
            overflow="ellipsis",
        )

    def _drawn(self, newest: Sequence[Row]) -> Sequence[Text]:
        """Thumbnails of the newest local files that were classified."""
        if not can_draw(self._console):
            return ()
        tagged = [row for row in newest if row.item.path is not None and row.outcome.result]
        known, self._pictures = self._pictures, {}
        for row in tagged[: per_row(self._console)]:
            key = row.item.key
            assert row.item.path is not None
            self._pictures[key] = known.get(key) or Picture.of(row.item.path, _label(row))
        return picture_lines([*self._pictures.values()]) if self._pictures else ()


def _lines(rows: Sequence[Row]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    for row in rows:
        style = "red" if row.outcome.error else "green"
        table.add_row(
            Text(shown_uri(row.item.image).strip("'\"")),
            Text(_label(row), style=style),
            _probability(row),
        )
    return table


def _label(row: Row) -> str:
    """The best label, or why there is none."""
    if row.outcome.error is not None:
        return row.outcome.error.code
    best = row.outcome.result.predictions if row.outcome.result else ()
    return printable(best[0].label) if best else "no label"


def _probability(row: Row) -> str:
    best = row.outcome.result.predictions if row.outcome.result else ()
    return f"{best[0].probability:.0%}" if best else ""
