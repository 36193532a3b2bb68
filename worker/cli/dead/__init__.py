"""`clip-worker dead`: lists, shows, replays and purges dead letters."""

from __future__ import annotations

import click

from worker.cli.lazy_group import LazyGroup

COMMANDS = {
    "list": "List the dead letters, the newest first.",
    "show": "Tell all about one: why, its history, its arguments.",
    "replay": "Put dead letters on the queue again.",
    "purge": "Forget dead letters for good.",
}


@click.group("dead", cls=LazyGroup, package="worker.cli.dead", lines=COMMANDS)
def command() -> None:
    """The dead letters: messages that were given up.

    A picture that brings down each worker that begins it ends here after some tries, and its caller
    gets the failure. Look at it, mend what was wrong, and replay it; or purge it.
    """
