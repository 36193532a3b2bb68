"""The exporter's HTTP server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)

from worker.health import paths
from worker.health.http_server import Answer, HttpServer
from worker.metrics.catalogue import OF_QUEUES
from worker.metrics.queue_reader import QueueReader
from worker.metrics.queue_values import queue_fields, queue_values
from worker.metrics.readings import Readings

if TYPE_CHECKING:
    from redis import Redis

QUEUE_PATH = "/queue.json"


def exporter_server(redis: Redis, queues: Sequence[str], address: str, port: int) -> HttpServer:
    """A server that has not been started.

    Args:
        redis: Client of the Redis that the queues are in; it returns bytes.
        queues: Their names; `/queue.json` is about the first.
        address: IP address to serve on.
        port: TCP port.
    """
    reader = QueueReader(redis, lambda: queues)
    registry = CollectorRegistry()
    registry.register(Readings(OF_QUEUES, lambda: queue_values(reader.read())))
    ProcessCollector(registry=registry)
    about = {
        f"/queues/{quote(name, safe='')}.json": partial(_json, reader, name) for name in queues
    }
    return HttpServer(
        address,
        port,
        {paths.LIVE: lambda: Answer(HTTPStatus.OK, b'{"state": "ready"}\n')},
        {
            paths.METRICS: lambda: Answer(
                HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST
            ),
            QUEUE_PATH: partial(_json, reader, queues[0]),
            **about,
        },
    )


def _path(queue: str) -> str:
    return f"/queues/{quote(queue, safe='')}.json"


def _json(reader: QueueReader, queue: str) -> Answer:
    found = [reading for reading in reader.read() if reading.status.queue == queue]
    if not found:
        error = {"error": f"Redis does not tell what the queue {queue!r} holds."}
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, json.dumps(error).encode() + b"\n")
    return Answer(HTTPStatus.OK, json.dumps(queue_fields(found[0])).encode() + b"\n")
