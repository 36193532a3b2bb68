"""A progress bar for weights that are being fetched.

It appears with the first byte, on stderr, and only where that is a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def download_progress(
    title: str = "fetching weights",
) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function to call with bytes done and bytes in all; `title` stands before the bar."""
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    title_column = TextColumn("{task.description}", markup=False)
    bar = Progress(title_column, *columns, console=console, disable=not console.is_terminal)
    task = bar.add_task(title, total=None)

    def update(done_bytes: int, total_bytes: int | None) -> None:
        bar.start()
        bar.update(task, completed=done_bytes, total=total_bytes)

    try:
        yield update
    finally:
        if bar.live.is_started:
            bar.stop()
