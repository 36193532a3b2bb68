"""Errors that the user of the command line can fix."""

from __future__ import annotations

from typing import IO, Any, ClassVar

import click

WRONG_INPUT_STATUS = 2


class WrongInputError(click.ClickException):
    """An argument, an option or a setting is invalid; exit status 2, like click's usage errors.

    Args:
        message: One sentence per line: the invalid value, and what would be valid.
    """

    exit_code: ClassVar[int] = WRONG_INPUT_STATUS

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, each line prefixed with the program's name."""
        say(self.message, file)


def say(message: str, file: IO[Any] | None = None) -> None:
    """Print a message on stderr or `file`; lines get the program's name unless indented."""
    for line in message.splitlines():
        name = "" if line.startswith(" ") else "clip-worker: "
        click.echo(name + line, file=file, err=file is None)
