"""`clip-worker watch`: tags images as they arrive in a folder or a bucket."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import click

from clip_worker.bulk.failures import FailuresFile
from clip_worker.bulk.journal import Journal
from clip_worker.bulk.progress import Progress
from clip_worker.bulk.run import BulkRun
from clip_worker.bulk.supply import ArrivalSupply, FailedSupply, Supply
from clip_worker.feeds.arrivals import Arrivals
from clip_worker.feeds.bucket_arrivals import POLL_S
from clip_worker.feeds.folder_arrivals import SETTLE_S
from clip_worker.feeds.open_place import PlaceOptions, open_place
from clip_worker.quoting import without_secrets
from clip_worker.sinks.open import open_sink
from clip_worker.sinks.sql_table import DEFAULT_TABLE
from worker.cli.classify.request_options import read_request, request_options
from worker.cli.open_client import open_client
from worker.cli.options import queue_option, redis_url_option, tenant_option, text
from worker.cli.output.usage_error import say
from worker.cli.stop_signals import stopping
from worker.cli.watch.lines import ProgressLines
from worker.variables import WATCH_SECRET

COMMIT_S = 1.0
MOST_IN_FLIGHT = 100_000
_TELLING = ("list", "region", "account")  # parts of a place's query

Show = Callable[[Progress], None]


@click.command("watch")
@click.argument("place", type=text)
@click.option(
    "--to",
    "target",
    type=text,
    required=True,
    metavar="TARGET",
    help="Where results go: results.jsonl, a folder of Parquet files, a database, sidecars or a "
    "webhook (docs/sinks.md).",
)
@request_options
@click.option(
    "--table",
    type=text,
    default=DEFAULT_TABLE,
    show_default=True,
    metavar="NAME",
    help="Table of a database.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that remembers what is done; by default beside TARGET, or in this folder.",
)
@click.option(
    "--retry-failed",
    is_flag=True,
    help="First send again what has failed for a reason that may have passed, such as a timeout.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, MOST_IN_FLIGHT),
    default=256,
    show_default=True,
    help="Maximum number of images that wait for their results.",
)
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(min=0),
    default=SETTLE_S,
    show_default=True,
    metavar="SECONDS",
    help="How long a file must stay unchanged where the system can't tell whether it is being "
    "written, as on network file systems.",
)
@click.option(
    "--poll",
    "poll_s",
    type=click.FloatRange(min=1),
    default=POLL_S,
    show_default=True,
    metavar="SECONDS",
    help="Pause between two listings of a bucket.",
)
@redis_url_option
@queue_option
@tenant_option
def command(  # noqa: PLR0913  # one argument per option
    place: str,
    *,
    target: str,
    table: str,
    journal: Path | None,
    retry_failed: bool,
    in_flight: int,
    settle_s: float,
    poll_s: float,
    redis_url: str,
    queue: str,
    tenant: str | None,
    **request: Any,
) -> int:
    """Tag images as they arrive in PLACE, each once, until Ctrl-C or SIGTERM.

    PLACE is a folder, with all folders below it; s3://bucket/prefix/, which is listed again and
    again; or where notifications of S3, MinIO or Google Cloud Storage come: sqs://queue,
    redis://host:6379/0?list=key or webhook://0.0.0.0:8080/path, whose senders have to know
    CLIP_WORKER_WATCH_SECRET.

    What is in PLACE already is tagged first. The journal remembers what is done, so that the
    command can be stopped, killed and started again. Images that fail are listed beside it.
    """
    options = read_request(request)
    sink = open_sink(target, table=table)
    path = journal or journal_path(place, target)
    secret = os.environ.get(WATCH_SECRET, "")
    arrivals = open_place(
        place, PlaceOptions(path.with_name(f"{path.name}.inbox"), settle_s, poll_s, secret)
    )
    shown_place, shown_target = shown(place), without_secrets(target)
    settings = {"place": shown_place, "target": shown_target, "table": table, "request": options}
    failures = FailuresFile(path.with_name(f"{path.name}.failures.jsonl"))
    with open_client(redis_url, queue) as client:
        client.ping()
        with Journal(path, settings) as opened, _view(f"{shown_place} to {shown_target}") as show:
            for supply in _supplies(arrivals, opened, retry_failed=retry_failed):
                run = BulkRun(
                    client,
                    sink,
                    opened,
                    failures,
                    options={**options, "tenant": tenant},  # not part of the request
                    on_progress=show,
                    in_flight=in_flight,
                    commit_s=COMMIT_S,
                    timeout_s=None,
                )
                with stopping(run.stop):
                    if not run.run(supply):
                        break
    say(f"stopped: {run.progress.done:,} done, {run.progress.failed:,} failed.")
    return 0


def _supplies(arrivals: Arrivals, journal: Journal, *, retry_failed: bool) -> Iterator[Supply]:
    if retry_failed:
        yield FailedSupply(journal, only_passing=True)
    yield ArrivalSupply(arrivals, journal)


def journal_path(place: str, target: str) -> Path:
    """Where the journal is by default: beside a target that is a file, else in this folder.

    >>> journal_path("inbox", "out/results.jsonl")
    PosixPath('out/results.jsonl.journal')
    """
    if ":" in target:
        # A password that is changed must not lead to another journal.
        named = f"{shown(place)} {without_secrets(target)}"
        name = hashlib.sha256(named.encode(errors="surrogatepass")).hexdigest()[:8]
        return Path(f"clip-worker-watch-{name}.journal")
    return Path(f"{target.rstrip('/')}.journal")


def shown(place: str) -> str:
    """A place without secrets, but with what tells it apart from others.

    >>> shown("redis://me:secret@host/0?list=a")
    'redis://***@host/0?list=a'
    """
    if "://" not in place:
        return str(Path(place).resolve())
    query = parse_qs(urlsplit(place).query)
    kept = {name: query[name][-1] for name in _TELLING if name in query}
    hidden = without_secrets(place).removesuffix("?...")
    return f"{hidden}?{urlencode(kept)}" if kept else hidden


@contextlib.contextmanager
def _view(title: str) -> Iterator[Show]:
    """What shows the progress: a live view on a terminal, else lines."""
    logging.basicConfig(format="clip-worker: %(message)s", level=logging.WARNING)
    if not (sys.stdout.isatty() and find_spec("rich") and find_spec("PIL")):
        lines = ProgressLines(_say)
        _say(f"watching {title}")
        yield lines.show
        return
    from rich.console import Console

    from worker.cli.watch.live import LiveView

    with LiveView(Console(highlight=False, emoji=False), title) as live:
        yield live.show


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()
