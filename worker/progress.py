"""A progress bar for weights that are being fetched; it appears with the first byte."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn


class DownloadProgress:
    """Context manager whose `update` takes bytes done and bytes in all."""

    def __init__(self) -> None:
        self._bar = Progress(
            "fetching weights",
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("weights", total=None, visible=False)

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
