"""`clip-worker dead`: lists, shows, replays and purges dead letters."""

from __future__ import annotations

import click

from worker.cli.lazy_group import LazyGroup

COMMANDS = {
    "list": "List dead letters, newest first.",
    "show": "Show a dead letter: reason, history and arguments.",
    "replay": "Put dead letters back onto the queue; post webhooks again.",
    "purge": "Delete dead letters.",
}


@click.group("dead", cls=LazyGroup, package="worker.cli.dead", lines=COMMANDS)
def command() -> None:
    """Manage dead letters: messages that the workers gave up.

    A message that repeatedly crashed its worker, or that no worker can read, becomes a dead letter,
    and its caller gets the error. So does what could not be posted to a webhook. Fix the cause and
    replay it, or purge it.
    """
