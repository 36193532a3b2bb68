"""A group of commands, each of which is loaded when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands are the attribute `command` of a package's modules.

    Args:
        package: The modules' package.
        lines: Name of a command, which is its module's too, and its line in `--help`.
        arguments: Of `click.Group`.
    """

    def __init__(self, *, package: str, lines: Mapping[str, str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._package = package
        self._lines = lines

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands' names, in the order of `--help`."""
        return list(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command."""
        if cmd_name not in self._lines:
            return None
        command: click.Command = importlib.import_module(f"{self._package}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands' lines without loading the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lines.items()))
