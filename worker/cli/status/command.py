"""`clip-worker status`: its options, and its two ways to run."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from clip_worker.errors import QueueUnavailableError
from clip_worker.quoting import without_password
from clip_worker.redis.url import check_redis_url, connect
from worker.cli.options import queues_option, redis_url_option
from worker.cli.output.screen import Screen
from worker.cli.status.finding import Level
from worker.cli.status.findings import findings
from worker.cli.status.outputs import JsonLines, LiveView, PlainText
from worker.cli.status.reader import SnapshotReader
from worker.cli.status.redrawn_screen import RedrawnScreen

if TYPE_CHECKING:
    from worker.cli.status.outputs import Output

PROBLEM_STATUS = 3
USUAL_INTERVAL_S = 2.0


@click.command("status")
@redis_url_option
@queues_option
@click.option("--once", is_flag=True, help="Look once. Status 0; 3 if there is a problem.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=0.2),
    default=USUAL_INTERVAL_S,
    metavar="SECONDS",
    show_default=True,
    help="Pause between two looks.",
)
def command(
    redis_url: str, queues: tuple[str, ...], *, once: bool, as_json: bool, interval_s: float
) -> int:
    """Show queues, workers and what looks wrong, live until Ctrl-C.

    Needs no worker that answers: each of them writes a report into Redis every two seconds.
    """
    names = list(dict.fromkeys(queues))
    with connect(check_redis_url(redis_url)) as redis:
        reader = SnapshotReader(redis, redis_url, names)
        output = _output(without_password(redis_url), once=once, as_json=as_json)
        return _look(reader, output) if once else _watch(reader, output, interval_s)


def _output(url: str, *, once: bool, as_json: bool) -> Output:
    screen = Screen.of(sys.stdout)
    if as_json:
        return JsonLines()
    if once or not screen.is_terminal or os.environ.get("TERM") == "dumb":
        return PlainText(screen, url)
    return LiveView(RedrawnScreen(screen.file, colour=screen.colour), url)


def _look(reader: SnapshotReader, output: Output) -> int:
    snapshot = reader.read()
    found = findings(snapshot)
    output.show(snapshot, found)
    is_wrong = any(finding.level is Level.PROBLEM for finding in found)
    return PROBLEM_STATUS if is_wrong else 0


def _watch(reader: SnapshotReader, output: Output, interval_s: float) -> int:
    try:
        while True:
            try:
                _look(reader, output)
            except QueueUnavailableError as error:
                output.failed(error)
            time.sleep(interval_s)
    except KeyboardInterrupt:
        return 0
