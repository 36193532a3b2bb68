"""`clip-worker dead replay`: puts dead letters back onto their queue."""

from __future__ import annotations

import click

from clip_worker.errors import InvalidRequestError
from clip_worker.redis.dead_letters import DeadLetters
from worker.cli.dead.options import (
    all_option,
    check_choice,
    counted,
    dead_letters,
    ids_argument,
    report_missing,
    result_url_option,
)
from worker.cli.options import queue_option, redis_url_option
from worker.cli.output.usage_error import say


@click.command("replay")
@redis_url_option
@result_url_option
@queue_option
@all_option
@ids_argument
def command(
    redis_url: str, result_url: str | None, queue: str, ids: tuple[str, ...], *, everything: bool
) -> int:
    """Put dead letters back onto the queue, with their ids and without their crash history.

    The errors stored as their tasks' results are deleted, so callers wait for a result again. What
    could not be posted to a webhook is posted again instead.
    """
    check_choice(ids, everything=everything)
    refused: list[str] = []
    with dead_letters(redis_url, queue, result_url) as dead:
        chosen = dead.ids() if everything else list(dict.fromkeys(ids))
        missing = [task_id for task_id in chosen if not _replay(dead, task_id, refused)]
    replayed = len(chosen) - len(missing) - len(refused)
    click.echo(f"Replayed {counted(replayed)} of the queue {queue!r}.")
    for sentence in refused:
        say(sentence)
    return report_missing(missing) or bool(refused)


def _replay(dead: DeadLetters, task_id: str, refused: list[str]) -> bool:
    """Replay one; False if there is no such dead letter. `refused` gets errors of the others."""
    try:
        return not dead.replay([task_id])
    except InvalidRequestError as error:
        refused.append(str(error))
        return True
