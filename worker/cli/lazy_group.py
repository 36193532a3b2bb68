"""A group of commands whose modules are loaded when they are needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, cast

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
        module = importlib.import_module(f"{self._package}.{cmd_name}")
        if not hasattr(module, "command"):  # a package, with its command in a module of its own
            module = importlib.import_module(f"{module.__name__}.command")
        command = module.command
        if isinstance(command, ModuleType):  # which the package has once it is loaded
            command = command.command
        return cast("click.Command", command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands' lines without loading the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lines.items()))
