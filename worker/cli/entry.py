"""`clip-worker` itself: finds the command, and turns whatever ends it into an exit status.

A command's module is loaded when the command is asked for, so that `clip-worker --help` answers at
once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from worker.cli.wrong_input import WRONG_INPUT_STATUS, say
from worker.errors import ClipWorkerError, InvalidRequestError
from worker.version import __version__

FAILURE_STATUS = 1
INTERRUPTED_STATUS = 130  # what a shell reports for a program that Ctrl-C ended

# Name of a command, which is its module's too, and its line in `clip-worker --help`.
COMMANDS = {
    "start": "Run a worker: load the model, take pictures from the queue, store the answers.",
    "classify": "Ask the workers which labels fit pictures: files, folders, globs or URLs.",
    "demo": "Show it all on this machine: a Redis, a worker, a dozen pictures and the answers.",
}


class LazyGroup(click.Group):
    """A group whose commands are the attribute `command` of the modules that `COMMANDS` names."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands' names, in the order of `--help`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"worker.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands' lines without loading the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clip-worker", message="%(prog)s %(version)s")
def commands() -> None:
    """Zero-shot image tagging as a queue job: CLIP on Celery workers, answers in Redis.

    Start with `clip-worker demo`: it needs no network, no weights and no Redis of yours.
    """


def main() -> None:
    """Run `clip-worker` with this process's arguments, and end the process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run `clip-worker`.

    Returns:
        Exit status: 0; 1 if something failed; 2 if the input was wrong; 130 after Ctrl-C.
    """
    try:
        return commands.main(arguments, prog_name="clip-worker", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ClipWorkerError as error:
        say(str(error))
        return WRONG_INPUT_STATUS if isinstance(error, InvalidRequestError) else FAILURE_STATUS
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED_STATUS
