"""A Redis that fails over to another address, with real sentinels."""

from __future__ import annotations

import asyncio
import gc

import pytest
from celery import signature
from redis import Redis
from redis.exceptions import RedisError
from support.answers import ANSWER
from support.coroutines import put_result, run, until
from support.redis_sentinel import SentinelDeployment
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import AsyncClient, Client
from clip_worker.errors import ImageUnavailableError, QueueUnavailableError
from clip_worker.redis.url import connect

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red square", "blue circle"]
LIMIT_S = 120.0
INSPECT_S = 2.0


@pytest.fixture
def deployment():
    with SentinelDeployment() as deployment:
        yield deployment


def in_the_end(call, error: type[Exception] | tuple[type[Exception], ...]):
    """What the call returns once it no longer raises the error."""
    returned = []

    def succeeds() -> bool:
        try:
            returned.append(call())
        except error:
            return False
        return True

    wait_until(succeeds)
    return returned[0]


def classify_upload(client, file):
    """An upload under a label set's name."""
    client.put_label_set("set", LABELS)
    image = client.upload(file.read_bytes())
    return client.classify(image, label_set="set").get(LIMIT_S).predictions[0].label


@pytest.mark.parametrize("disaster", ["fail_over", "kill_master"])
def test_our_connections_workers_and_producers_go_on_at_the_new_master(
    deployment, disaster, tmp_path, image_file, image
):
    url = deployment.url
    with (
        WorkerProcess(url, tmp_path) as worker,
        Client(url) as client,
        connect(url) as redis,
    ):
        redis.set("before", "1")
        assert redis.wait(1, int(LIMIT_S * 1000)) == 1  # replication is asynchronous
        before = deployment.master_port
        assert classify_upload(client, image_file) in LABELS
        # when
        getattr(deployment, disaster)()
        # then a plain connection of ours finds the new master
        in_the_end(lambda: redis.set("after", "2"), RedisError)
        assert redis.info("server")["tcp_port"] == deployment.master_port != before
        assert redis.mget("before", "after") == [b"1", b"2"]
        # and the same process answers, by the batch path and by Celery's own
        # (an upload that the old master still accepted is lost with it, as any write is)
        lost = (QueueUnavailableError, ImageUnavailableError)
        label = in_the_end(lambda: classify_upload(client, image_file), lost)
        assert label in LABELS
        asked = {"image": image, "labels": LABELS}
        late = signature("clip.classify", kwargs=asked, app=client._app, countdown=0.1)
        handle = client.handle(late.apply_async(retry=True, ignore_result=False).id)
        gc.collect()  # Celery's result speaks to Redis when it is collected: while it runs, then
        assert handle.get(LIMIT_S).predictions[0].label in LABELS
        # and is there for whoever operates it
        wait_until(client._app.control.inspect(timeout=INSPECT_S).ping)
        assert worker.running.poll() is None
        assert worker.stop() == 0


@pytest.mark.parametrize("disaster", ["fail_over", "kill_master"])
def test_coroutines_go_on_at_the_new_master(deployment, disaster):
    async def sends(client) -> bool:
        try:
            await client.classify("data:,x", LABELS)
        except QueueUnavailableError:
            return False
        return True

    async def main():
        async with AsyncClient(deployment.url) as client:
            await asyncio.gather(*(client.ping() for _ in range(20)))
            waiting = asyncio.ensure_future(client.handle("some-id").get())
            with Redis(port=deployment.master_port) as master:
                await until(master.pubsub_channels)
            # when
            await asyncio.to_thread(getattr(deployment, disaster))
            while not await sends(client):
                pass
            # then
            with Redis(port=deployment.master_port) as master:
                assert master.llen("clip") >= 1
                await until(master.pubsub_channels)
                put_result(master, "some-id")
            assert await waiting == ANSWER

    run(main())
