"""A terminal on which each view takes the place of the last one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import TextIO

from click import echo

HOME, CLEAR_SCREEN, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


class RedrawnScreen:
    """Draws views, no larger than the terminal.

    Args:
        file: The terminal.
        colour: Whether to print colours.
    """

    def __init__(self, file: TextIO, *, colour: bool) -> None:
        self._file = file
        self._colour = colour
        self._is_drawn = False

    @property
    def width(self) -> int:
        """Columns to use. The last one is left free: there, terminals differ in what they erase."""
        return shutil.get_terminal_size().columns - 1

    def draw(self, lines: Iterable[str]) -> None:
        """Draw a view in place of the last one."""
        shown = list(lines)
        room = max(2, shutil.get_terminal_size().lines - 1)
        if len(shown) > room:
            hidden = len(shown) - room + 1
            shown = [*shown[: room - 1], f"... {hidden} more lines; --once prints all"]
        drawn = "".join(f"{line}{CLEAR_LINE}\n" for line in shown)
        begin = HOME if self._is_drawn else HOME + CLEAR_SCREEN
        echo(f"{begin}{drawn}{CLEAR_BELOW}", self._file, nl=False, color=self._colour)
        self._is_drawn = True
