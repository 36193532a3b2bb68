"""Where a command prints: a terminal, or a file or pipe; and text of a width in its columns."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Self, TextIO

from wcwidth import wcwidth

from worker.cli.output.bar import has_blocks


@dataclass(frozen=True, slots=True)
class Screen:
    """An output.

    Attributes:
        file: The stream.
        is_terminal: Whether it is a terminal.
        width: Columns of the terminal.
    """

    file: TextIO
    is_terminal: bool
    width: int

    @classmethod
    def of(cls, file: TextIO) -> Self:
        """Describe a stream of this process."""
        return cls(file, file.isatty(), shutil.get_terminal_size().columns)

    @property
    def unicode(self) -> bool:
        """Whether its encoding has block characters."""
        return has_blocks(self.file.encoding or "utf-8")  # text in memory has none

    @property
    def colour(self) -> bool:
        """Whether to print colours; https://no-color.org."""
        return self.is_terminal and not os.environ.get("NO_COLOR")


def cells(text: str) -> int:
    """The columns that a text takes on a terminal.

    >>> cells("cat"), cells("猫")
    (3, 2)
    """
    return sum(max(0, wcwidth(character)) for character in text)


def cut(text: str, width: int) -> str:
    """The longest beginning of a text that takes no more than so many columns.

    >>> cut("猫猫猫", 5)
    '猫猫'
    """
    taken = 0
    for position, character in enumerate(text):
        taken += cells(character)
        if taken > width:
            return text[:position]
    return text


def fit(text: str, width: int) -> str:
    """The text with exactly so many columns: cut at its end, or padded.

    >>> fit("cat", 2), fit("cat", 5)
    ('ca', 'cat  ')
    """
    kept = cut(text, width)
    return kept + " " * (width - cells(kept))
