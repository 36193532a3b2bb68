"""`clip-worker dead list`: the newest dead letters."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from worker.cli.dead.options import dead_letters, queue_option, redis_url_option
from worker.cli.output.table import printable
from worker.redis.dead_letters import DeadLetter

HEADINGS = ("died (UTC)", "id", "task", "code", "tries", "reason")
GAP = "  "


@click.command("list")
@redis_url_option
@queue_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    metavar="N",
    show_default=True,
    help="Most that are listed.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def command(redis_url: str, queue: str, limit: int, *, as_json: bool) -> None:
    """List the dead letters of a queue, the newest first."""
    with dead_letters(redis_url, queue) as dead:
        letters, count = dead.newest(limit), len(dead)
    if as_json:
        for letter in letters:
            click.echo(json.dumps(letter.model_dump()))
        return
    if not letters:
        click.echo(f"The queue {queue!r} has no dead letters.")
        return
    _print_table([HEADINGS, *map(_row, letters)])
    if count > len(letters):
        click.echo(f"... and {count - len(letters)} older ones; --limit {count} lists them all.")


def _row(letter: DeadLetter) -> tuple[str, ...]:
    died = datetime.fromtimestamp(letter.died_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    cells = (letter.id, letter.task, letter.code, str(len(letter.history)), letter.reason)
    return (died, *map(printable, cells))


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(GAP.join(cells).rstrip())
