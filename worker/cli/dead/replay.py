"""`clip-worker dead replay`: dead letters become messages again."""

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
    with dead_letters(redis_url, queue, result_url) as dead:
        chosen = dead.ids() if everything else list(dict.fromkeys(ids))
        missing = dead.replay(chosen)
    click.echo(f"{counted(len(chosen) - len(missing))} on the queue {queue!r} again.")
    return tell_missing(missing)
