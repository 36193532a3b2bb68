"""A line on a terminal that says how far a command is."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from click import echo

from worker.cli.output.bar import bar
from worker.cli.output.screen import Screen

BAR_WIDTH = 30


class ProgressLine:
    """Shows a bar while the block runs, and erases it afterwards; elsewhere it prints nothing.

    Args:
        screen: Shows the line, if it is a terminal.
        title: What the command does.
    """

    def __init__(self, screen: Screen, title: str) -> None:
        self._screen = screen
        self._title = title
        self._shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            echo(f"\r{self._shown * ' '}\r", self._screen.file, nl=False)

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show that so many of all are done, and a note such as the rate."""
        if self._screen.is_terminal:
            drawn = bar(done / total if total else 0.0, BAR_WIDTH, unicode=self._screen.unicode)
            line = f"{self._title} {drawn} {done:,}/{total:,} {note}".rstrip()
            line = line[: self._screen.width - 1].ljust(self._shown)
            self._shown = max(self._shown, len(line))
            echo(f"\r{line}", self._screen.file, nl=False)
