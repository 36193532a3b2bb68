"""The help of each command."""

from __future__ import annotations

from collections.abc import Iterator

import click

from worker.cli.entry import commands

WIDTH = 96
ROOT = "clip-worker"


def all_help() -> str:
    """Return a section for each command and subcommand, with what `--help` prints."""
    return "\n".join(
        f"## {path}\n\n```text\n{text.rstrip()}\n```\n" for path, text in _each(commands, ROOT)
    )


def _each(
    command: click.Command, path: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command,
        parent=parent,
        info_name=path.rpartition(" ")[2],
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **command.context_settings,
    )
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _each(child, f"{path} {name}", context)
