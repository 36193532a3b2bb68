"""A click group whose commands are imported when they are needed."""

from __future__ import annotations

import importlib
from collections.abc import Container, Mapping
from types import ModuleType
from typing import Any, cast

import click

from worker.cli.output.usage_error import WrongInputError
from worker.extra import missing_extra


class LazyGroup(click.Group):
    """A group whose commands are the attribute `command` of a package's modules.

    Args:
        package: The modules' package.
        lines: Name of each command, and of its module, to its line in `--help`.
        needs_worker: Names of the commands that need the package's extra `worker`.
        arguments: Arguments of `click.Group`.
    """

    def __init__(
        self,
        *,
        package: str,
        lines: Mapping[str, str],
        needs_worker: Container[str] = (),
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._package = package
        self._lines = lines
        self._needs_worker = needs_worker

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Names of the commands, in the order of `--help`."""
        return list(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command.

        Raises:
            WrongInputError: The command needs the extra `worker`, which is not installed.
        """
        if cmd_name not in self._lines:
            return None
        if cmd_name in self._needs_worker:
            self._check_extra(cmd_name)
        module = importlib.import_module(f"{self._package}.{cmd_name}")
        if not hasattr(module, "command"):  # a package with a module `command`
            module = importlib.import_module(f"{module.__name__}.command")
        command = module.command
        if isinstance(command, ModuleType):  # that module, once it has been imported
            command = command.command
        return cast("click.Command", command)

    def _check_extra(self, name: str) -> None:
        if missing := missing_extra(f"`clip-worker {name}`"):
            raise WrongInputError(missing)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands' lines without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lines.items()))
