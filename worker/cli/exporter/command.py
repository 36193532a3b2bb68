"""`clip-worker exporter`: serves what queues hold, from Redis alone."""

from __future__ import annotations

import signal
import threading
from importlib.util import find_spec

import click

from clip_worker.errors import ServiceError
from clip_worker.quoting import without_password
from clip_worker.redis.url import check_redis_url, connect
from worker.cli.options import queues_option, redis_url_option, text
from worker.cli.output.usage_error import WrongInputError, say
from worker.health import paths

DEFAULT_PORT = 9108


@click.command("exporter")
@redis_url_option
@queues_option
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=DEFAULT_PORT,
    show_default=True,
    help="TCP port to serve on.",
)
@click.option(
    "--address",
    type=text,
    default="0.0.0.0",  # noqa: S104  # as a worker's metrics port: others scrape it
    show_default=True,
    help="IP address to serve on.",
)
def command(redis_url: str, queues: tuple[str, ...], port: int, address: str) -> None:
    """Serve what queues hold, for Prometheus and for autoscalers such as KEDA.

    It needs only Redis, no model and no worker, so it shows waiting work even when no worker runs.
    /metrics is for Prometheus. /queue.json shows the first queue and /queues/NAME.json the queue
    NAME as JSON; `total_messages` are those that wait and those in flight.
    """
    if find_spec("prometheus_client") is None:
        raise WrongInputError(
            "`clip-worker exporter` needs the package prometheus-client, which is not installed; "
            "install it: pip install prometheus-client"
        )
    from worker.cli.exporter.server import exporter_server

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = exporter_server(connect(check_redis_url(redis_url), retries=0), queues, address, port)
    try:
        server.start()
    except OSError as error:
        raise ServiceError(
            f"The port {port} of {address} can't be opened: {error.strerror}. Give a free one with "
            "--port, and an address of this machine with --address.",
            "METRICS_PORT",
        ) from error
    names = ", ".join(repr(queue) for queue in queues)
    say(f"showing {names} at {without_password(redis_url)} on {address}:{port}{paths.METRICS}")
    ended.wait()
    server.stop()
