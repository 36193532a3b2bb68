"""A progress bar for weights that are being fetched.

It appears with the first byte, on stderr, and only where that is a terminal.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class DownloadProgress:
    """Context manager whose `update` takes bytes done and bytes in all.

    Args:
        title: Stands before the bar.
    """

    def __init__(self, title: str = "fetching weights") -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=None, visible=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def update(self, done_bytes: int, total_bytes: int | None) -> None:
        """Show how far the transfer is."""
        if not self._bar.live.is_started:
            self._bar.start()
        self._bar.update(self._task, completed=done_bytes, total=total_bytes, visible=True)
