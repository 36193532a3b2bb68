"""`clip-worker dead replay`: puts dead letters back onto their queue."""

from __future__ import annotations

import click

from worker.cli.dead.options import (
    all_option,
    check_choice,
    counted,
    dead_letters,
    ids_argument,
    queue_option,
    redis_url_option,
    result_url_option,
    tell_missing,
)
from worker.cli.output.usage_error import say
from worker.errors import InvalidRequestError
from worker.redis.dead_letters import DeadLetters


@click.command("replay")
@redis_url_option
@result_url_option
@queue_option
@all_option
@ids_argument
def command(
    redis_url: str, result_url: str | None, queue: str, ids: tuple[str, ...], *, everything: bool
) -> int:
    """Put dead letters on the queue again, under their ids, with all their tries before them.

    The failures that their callers saw are dropped, so that who asks for the result waits again.
    """
    check_choice(ids, everything=everything)
    refused: list[str] = []
    with dead_letters(redis_url, queue, result_url) as dead:
        chosen = dead.ids() if everything else list(dict.fromkeys(ids))
        missing = [task_id for task_id in chosen if not _replay(dead, task_id, refused)]
    replayed = len(chosen) - len(missing) - len(refused)
    click.echo(f"{counted(replayed)} on the queue {queue!r} again.")
    for sentence in refused:
        say(sentence)
    return tell_missing(missing) or bool(refused)


def _replay(dead: DeadLetters, task_id: str, refused: list[str]) -> bool:
    """Replay one; False if it is not there. Why it can't be replayed goes to `refused`."""
    try:
        return not dead.replay([task_id])
    except InvalidRequestError as error:
        refused.append(str(error))
        return True
