"""A running worker and a Redis that is there but does not serve: it goes on by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import PIL.Image
import pytest
from support.redis_server import RedisServer
from support.worker_process import WorkerProcess

from worker.client import Client

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red square", "blue circle"]
OUTAGE_S = 7.0  # longer than any connection waits for a reply
WAIT_S = 60.0
TASKS = 40


def demote(server: RedisServer) -> None:
    server.client().replicaof("127.0.0.1", "1")


def promote(server: RedisServer) -> None:
    server.client().replicaof("NO", "ONE")


def fill(server: RedisServer) -> None:
    server.client().config_set("maxmemory", 1)


def empty(server: RedisServer) -> None:
    server.client().config_set("maxmemory", 0)


def freeze(server: RedisServer) -> None:
    os.kill(server.pid or 0, signal.SIGSTOP)


def thaw(server: RedisServer) -> None:
    os.kill(server.pid or 0, signal.SIGCONT)


@pytest.mark.parametrize(
    ("begin", "end"), [(demote, promote), (fill, empty), (freeze, thaw)], ids=lambda f: f.__name__
)
def test_a_worker_goes_on_when_redis_serves_again(
    server: RedisServer, tmp_path: Path, begin: object, end: object
) -> None:
    assert callable(begin)
    assert callable(end)
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "cat.png")
    image = (tmp_path / "cat.png").as_uri()
    with WorkerProcess(server.url, tmp_path) as worker, Client(server.url) as client:
        client.classify(image, LABELS).get(WAIT_S)
        # given tasks that are waiting and in hand when it begins
        handles = client.submit_many([image] * TASKS, LABELS)
        begin(server)
        over = threading.Timer(OUTAGE_S, end, [server])
        over.start()
        # then all of them are answered, and later ones too: no slot was lost
        stop = time.monotonic() + WAIT_S
        for handle in handles:
            handle.get(stop - time.monotonic())
        over.join()
        for handle in client.submit_many([image] * 10 * TASKS, LABELS):
            handle.get(WAIT_S)
        assert worker.running.poll() is None
        assert worker.stop() == 0
