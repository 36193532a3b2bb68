"""The line that says what `tune` measures, and how much time is left."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from click import echo

from worker.cli.output.bar import bar
from worker.cli.output.screen import Screen, cells, cut
from worker.cli.output.usage_error import say

BAR_WIDTH = 20


class Progress:
    """A line that changes on a terminal, where it is erased in the end; elsewhere a line a step.

    Args:
        screen: Shows the line.
        total_s: How long everything takes, about.
    """

    def __init__(self, screen: Screen, total_s: float) -> None:
        self._screen = screen
        self._total_s = total_s
        self._shown = 0

    def update(self, what: str, passed_s: float) -> None:
        """Show what is done next, and the seconds that have passed."""
        left_s = max(0.0, self._total_s - passed_s)
        if not self._screen.is_terminal:
            say(f"{what} (about {left_s:.0f} s left)", self._screen.file)
            return
        part = min(1.0, passed_s / self._total_s)
        drawn = bar(part, BAR_WIDTH, unicode=self._screen.unicode)
        self._show(cut(f"{drawn} about {left_s:.0f} s left: {what}", self._screen.width - 1))

    def _show(self, line: str) -> None:
        width = cells(line)
        echo(f"\r{line}{' ' * (self._shown - width)}", self._screen.file, nl=False)
        self._shown = width

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            self._show("")
            echo("\r", self._screen.file, nl=False)
