"""A Redis whose memory is full of messages: workers start on it, empty it, and answer everybody."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import PIL.Image
import pytest
from support.worker_process import WorkerProcess

from worker.client import Client
from worker.contract import CLASSIFY
from worker.errors import QueueUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from support.redis_server import RedisServer

    from worker.client.handle import Handle
    from worker.contract import Classification

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red square", "blue circle"]
ROOM_BYTES = 1_000_000
MANY = 50
WAIT_S = 120.0


def _with_errback(client: Client, image: str) -> str:
    task = client._app.signature(CLASSIFY, kwargs={"image": image, "labels": LABELS})
    task.link_error(client._app.signature("no.such.task"))
    return str(task.apply_async(queue="clip").id)


def _fill(server: RedisServer, client: Client, image: str) -> list[Handle[Classification]]:
    """Send until nothing more is taken: not a message, nor the least of all writes."""
    redis = server.client()
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] + ROOM_BYTES)
    # The first are such as Celery runs, which stores their results itself.
    handles = [client.handle(_with_errback(client, image)) for _ in range(MANY)]
    for count in (MANY, 1):
        with contextlib.suppress(QueueUnavailableError):
            while True:
                handles += client.submit_many([image] * count, LABELS)
    with pytest.raises(QueueUnavailableError, match="memory is full"):
        client.submit_many([image], LABELS)
    return handles


def test_workers_start_on_a_full_redis_and_empty_it(server: RedisServer, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "cat.png")
    image = (tmp_path / "cat.png").as_uri()
    with Client(server.url) as client:
        handles = _fill(server, client, image)
        assert len(handles) > 2 * MANY

        # when two workers start
        with (
            WorkerProcess(server.url, tmp_path, name="first") as first,
            WorkerProcess(server.url, tmp_path, name="second") as second,
        ):
            # then every caller is answered
            end = time.monotonic() + WAIT_S
            answers = [handle.get(max(1.0, end - time.monotonic())) for handle in handles]
            assert {answer.predictions[0].label for answer in answers} == {"red square"}
            # and both workers go on where there is memory, and stop in order
            server.client().config_set("maxmemory", 0)
            assert client.classify(image, LABELS).get(WAIT_S).predictions
            assert (first.stop(), second.stop()) == (0, 0)
