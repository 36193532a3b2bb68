"""`clip-worker dead show`: one dead letter, with its history and its arguments."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import click

from clip_worker.contract.message_reader import Envelope, UnreadableMessageError
from clip_worker.quoting import quote, shown_uri
from clip_worker.redis.dead_letters import DeadLetter, Incident
from worker.cli.dead.options import dead_letters, report_missing
from worker.cli.options import queue_option, redis_url_option, text
from worker.cli.output.table import printable
from worker.webhooks.post import WebhookPost

IMAGES = ("image", "images")
MOST_ITEMS = 5  # of a list of labels or images
MOST_BODY_CHARS = 80


@click.command("show")
@redis_url_option
@queue_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with nothing cut.")
@click.argument("task_id", type=text, metavar="ID")
def command(redis_url: str, queue: str, task_id: str, *, as_json: bool) -> int:
    """Show a dead letter: reason, history, and a task's arguments or a webhook's body."""
    with dead_letters(redis_url, queue) as dead:
        letter = dead.get(task_id)
    if letter is None:
        return report_missing([task_id])
    if as_json:
        click.echo(json.dumps(letter.model_dump()))
        return 0
    for line in _lines(letter):
        click.echo(printable(line))
    return 0


def _lines(letter: DeadLetter) -> Iterator[str]:
    yield f"id         {letter.id}"
    yield f"task       {letter.task}"
    yield f"died       {_time(letter.died_at)}"
    yield f"code       {letter.code}"
    yield f"reason     {letter.reason}"
    for number, incident in enumerate(letter.history, start=1):
        yield f"{'history' if number == 1 else '':<11}{number}. {_described(incident)}"
    yield from _post(letter) if letter.is_post else _arguments(letter)


def _described(incident: Incident) -> str:
    others = f", with {incident.together - 1} other messages" if incident.together > 1 else ""
    alone = ", alone" if incident.together == 1 else ""
    return f"{incident.kind} on {incident.worker}, started {_time(incident.at)}{others}{alone}"


def _post(letter: DeadLetter) -> Iterator[str]:
    try:
        post = WebhookPost.decode(letter.message.encode())
    except ValueError:
        yield "webhook    can't be read"
        return
    yield f"webhook    {shown_uri(post.url)}"
    yield f"body       {post.body[:MOST_BODY_CHARS]}{'...' * (len(post.body) > MOST_BODY_CHARS)}"


def _arguments(letter: DeadLetter) -> Iterator[str]:
    try:
        arguments = Envelope.decode(letter.message.encode()).arguments
    except UnreadableMessageError as error:
        yield f"arguments  can't be read: {error}"
        return
    yield "arguments"
    for position, value in enumerate(arguments.args):
        yield f"  {position}: {_cut(value, show=shown_uri if position == 0 else quote)}"
    for name, value in arguments.kwargs.items():
        yield f"  {name}: {_cut(value, show=shown_uri if name in IMAGES else quote)}"


def _cut(value: Any, show: Callable[[object], str]) -> str:
    if not isinstance(value, list):
        return show(value)
    if len(value) <= MOST_ITEMS and show is quote:
        return quote(value)
    shown = ", ".join(map(show, value[:MOST_ITEMS]))
    return f"[{shown}, ... {len(value)} in total]" if len(value) > MOST_ITEMS else f"[{shown}]"


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
