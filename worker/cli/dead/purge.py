"""`clip-worker dead purge`: deletes dead letters."""

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
    tell_missing,
)
from worker.cli.output.usage_error import WrongInputError


@click.command("purge")
@redis_url_option
@queue_option
@all_option
@click.option("--yes", is_flag=True, help="Do it; they can't be replayed afterwards.")
@ids_argument
def command(
    redis_url: str, queue: str, ids: tuple[str, ...], *, everything: bool, yes: bool
) -> int:
    """Forget dead letters for good; their callers keep the failures."""
    check_choice(ids, everything=everything)
    with dead_letters(redis_url, queue) as dead:
        chosen = dead.ids() if everything else list(dict.fromkeys(ids))
        if not yes:
            raise WrongInputError(
                f"That would forget {len(chosen)} of the {len(dead)} dead letters of the queue "
                f"{queue!r} for good; add --yes to do it."
            )
        missing = dead.purge(chosen)
    click.echo(f"{counted(len(chosen) - len(missing))} forgotten.")
    return tell_missing(missing)
