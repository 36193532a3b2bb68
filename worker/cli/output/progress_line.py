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
        self.erase()

    def erase(self) -> None:
        """Make room for another line; the next update shows this one again."""
        if self._shown:
            echo(f"\r{self._shown * ' '}\r", self._screen.file, nl=False)
            self._shown = 0

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show how many are done.

        Args:
            done: So many.
            total: Of so many; None if that is not known.
            note: What follows, such as the rate.
        """
        if self._screen.is_terminal:
            shown = f"{self._title} {self._counted(done, total)} {note}".rstrip()
            line = shown[: self._screen.width - 1]
            echo(f"\r{line.ljust(self._shown)}", self._screen.file, nl=False)
            self._shown = len(line)

    def _counted(self, done: int, total: int | None) -> str:
        if total is None:
            return f"{done:,}"
        part = min(1.0, done / total) if total else 0.0
        drawn = bar(part, BAR_WIDTH, unicode=self._screen.unicode)
        return f"{drawn} {done:,}/{total:,}"
