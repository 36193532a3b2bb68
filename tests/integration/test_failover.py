"""A Redis that fails over to another address, with real sentinels."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import PIL.Image
import pytest
from celery import signature
from redis.exceptions import RedisError
from support.redis_sentinel import SentinelDeployment
from support.worker_process import WorkerProcess

from worker.client import Client
from worker.errors import QueueUnavailableError
from worker.redis.url import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.contract import Classification

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red square", "blue circle"]
LIMIT_S = 120.0
INSPECT_S = 2.0
PAUSE_S = 0.1


@pytest.fixture
def deployment() -> Iterator[SentinelDeployment]:
    with SentinelDeployment() as deployment:
        yield deployment


@pytest.mark.parametrize("disaster", ["fail_over", "kill_master"])
def test_our_connection_finds_the_new_master(deployment: SentinelDeployment, disaster: str) -> None:
    with connect(deployment.url) as redis:
        redis.set("before", "1")
        assert redis.wait(1, int(LIMIT_S * 1000)) == 1  # replication is asynchronous
        before = deployment.master_port
        # when
        getattr(deployment, disaster)()
        # then
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                redis.set("after", "2")
                break
            except RedisError:
                assert time.monotonic() < end
                time.sleep(PAUSE_S)
        assert redis.info("server")["tcp_port"] == deployment.master_port != before
        assert redis.mget("before", "after") == [b"1", b"2"]


def ask(client: Client, folder: Path) -> Classification:
    """An upload under a label set's name, until Redis takes it and the worker answers."""
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            client.put_label_set("set", LABELS)
            image = client.upload((folder / "cat.png").read_bytes())
            return client.classify(image, label_set="set").get(LIMIT_S)
        except QueueUnavailableError:
            assert time.monotonic() < end
            time.sleep(PAUSE_S)


@pytest.mark.parametrize("disaster", ["fail_over", "kill_master"])
def test_a_worker_and_its_producers_go_on_at_the_new_master(
    deployment: SentinelDeployment, disaster: str, tmp_path: Path
) -> None:
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "cat.png")
    url = deployment.url
    with WorkerProcess(url, tmp_path) as worker, Client(url) as client:
        assert ask(client, tmp_path).predictions[0].label in LABELS
        # when
        getattr(deployment, disaster)()
        # then the same process answers, by the batch path and by Celery's own
        assert ask(client, tmp_path).predictions[0].label in LABELS
        late = signature(
            "clip.classify",
            kwargs={"image": f"file://{tmp_path}/cat.png", "labels": LABELS},
            app=client._app,
            countdown=0.1,
        )
        handle = client.handle(late.apply_async(retry=True, ignore_result=False).id)
        gc.collect()  # Celery's result speaks to Redis when it is collected: while it runs, then
        assert handle.get(LIMIT_S).predictions[0].label in LABELS
        # and is there for whoever operates it
        control = client._app.control.inspect(timeout=INSPECT_S)
        end = time.monotonic() + LIMIT_S
        while not control.ping():
            assert time.monotonic() < end
        assert worker.running.poll() is None
        assert worker.stop() == 0
