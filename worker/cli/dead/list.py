"""`clip-worker dead list`: the newest dead letters."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from clip_worker.redis.dead_letters import DeadLetter
from worker.cli.dead.options import dead_letters
from worker.cli.options import json_lines_option, queue_option, redis_url_option
from worker.cli.output.columns import print_columns
from worker.cli.output.table import printable

HEADINGS = ("died (UTC)", "id", "task", "code", "tries", "reason")


@click.command("list")
@redis_url_option
@queue_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    metavar="N",
    show_default=True,
    help="List at most so many.",
)
@json_lines_option
def command(redis_url: str, queue: str, limit: int, *, as_json: bool) -> None:
    """List the dead letters of a queue, newest first."""
    with dead_letters(redis_url, queue) as dead:
        letters, count = dead.newest(limit), len(dead)
    if as_json:
        for letter in letters:
            click.echo(json.dumps(letter.model_dump()))
        return
    if not letters:
        click.echo(f"The queue {queue!r} has no dead letters.")
        return
    print_columns(HEADINGS, map(_row, letters))
    if count > len(letters):
        click.echo(f"... and {count - len(letters)} more; use --limit {count} to list all.")


def _row(letter: DeadLetter) -> tuple[str, ...]:
    died = datetime.fromtimestamp(letter.died_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    cells = (letter.id, letter.task, letter.code, str(len(letter.history)), letter.reason)
    return (died, *map(printable, cells))
