"""`clip-worker dead purge`: deletes dead letters."""

from __future__ import annotations

import click

from worker.cli.dead.options import (
    all_option,
    check_choice,
    counted,
    dead_letters,
    ids_argument,
    report_missing,
)
from worker.cli.options import queue_option, redis_url_option
from worker.cli.output.usage_error import WrongInputError


@click.command("purge")
@redis_url_option
@queue_option
@all_option
@click.option("--yes", is_flag=True, help="Confirm: purged messages can't be replayed.")
@ids_argument
def command(
    redis_url: str, queue: str, ids: tuple[str, ...], *, everything: bool, yes: bool
) -> int:
    """Delete dead letters for good. The errors stored as their tasks' results are kept."""
    check_choice(ids, everything=everything)
    with dead_letters(redis_url, queue) as dead:
        chosen = dead.ids() if everything else list(dict.fromkeys(ids))
        if not yes:
            raise WrongInputError(
                f"This would delete {len(chosen)} of the {len(dead)} dead letters of the queue "
                f"{queue!r} for good; add --yes to confirm."
            )
        missing = dead.purge(chosen)
    click.echo(f"Deleted {counted(len(chosen) - len(missing))}.")
    return report_missing(missing)
