"""`clip-worker health`: asks the workers of this machine how they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import click

from clip_worker.quoting import quote
from worker.cli.entry import FAILURE_STATUS
from worker.cli.health.question import NoReplyError, Place, Reply, ask
from worker.cli.output.usage_error import say
from worker.health import paths
from worker.variables import METRICS_PORT, is_service_link

ADDRESS = "CLIP_WORKER_METRICS_ADDRESS"
HIGHEST_PORT = 65_535
# Addresses to listen on, and where to ask a server that does.
EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # to look up
STARTING = "starting"


@click.command("health")
@click.option(
    "--live", is_flag=True, help="Ask only whether a restart is needed, not whether it takes tasks."
)
@click.option("--url", metavar="URL", help="Ask one worker, such as http://10.0.0.7:9108.")
@click.option(
    "--port",
    type=click.IntRange(1, HIGHEST_PORT),
    help="Metrics port of this machine's first worker. [CLIP_WORKER_METRICS_PORT]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    metavar="SECONDS",
    show_default=True,
    help="Longest wait for each worker.",
)
def command(*, live: bool, url: str | None, port: int | None, timeout_s: float) -> int:
    """Ask this machine's workers how they are, and print that in one sentence.

    The exit status is 0 if all of them take tasks (with --live: if none is stuck), else 1. The
    workers need CLIP_WORKER_METRICS_PORT (docs/health.md).
    """
    path = paths.LIVE if live else paths.READY
    try:
        first = _place_of(url) if url else Place(_host(os.environ), port or _port(os.environ))
        replies = list(_ask_all(first, path, timeout_s, alone=bool(url)))
    except NoReplyError as error:
        say(str(error))
        return FAILURE_STATUS
    unwell = [number for number, reply in enumerate(replies) if not reply.is_well]
    if unwell:
        say(_named(unwell[0], replies))
        return FAILURE_STATUS
    click.echo(
        f"All {len(replies)} workers: {replies[0].sentence}"
        if len(replies) > 1
        else replies[0].sentence
    )
    return 0


def _ask_all(first: Place, path: str, timeout_s: float, *, alone: bool) -> Iterator[Reply]:
    """Ask the first worker and, once it has started, those that its supervisor starts then."""
    reply = ask(first, path, timeout_s)
    yield reply
    if alone or reply.state == STARTING:
        return
    for port in range(first.port + 1, first.port + reply.workers):
        yield ask(first._replace(port=port), path, timeout_s)


def _named(index: int, replies: list[Reply]) -> str:
    sentence = replies[index].sentence
    return f"Worker {index + 1} of {len(replies)}: {sentence}" if len(replies) > 1 else sentence


def _place_of(url: str) -> Place:
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname and parts.port and parts.path in ("", "/"):
            return Place(parts.hostname, parts.port)
    except ValueError:  # a port that is no number
        pass
    raise NoReplyError(
        f"{quote(url)} is not a worker's URL; give one such as http://10.0.0.7:9108."
    )


def _host(environment: Mapping[str, str]) -> str:
    address = environment.get(ADDRESS, "")
    return EVERYWHERE.get(address, address)


def _port(environment: Mapping[str, str]) -> int:
    text = environment.get(METRICS_PORT, "")
    if not text or is_service_link(METRICS_PORT, text):
        raise NoReplyError(
            f"{METRICS_PORT} is not set, so no worker can be asked; set it for the worker and "
            "here, or give --port."
        )
    try:
        if 1 <= (port := int(text)) <= HIGHEST_PORT:
            return port
    except ValueError:
        pass
    raise NoReplyError(f"{METRICS_PORT} is {quote(text)}; give a number from 1 to {HIGHEST_PORT}.")
