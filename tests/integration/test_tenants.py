"""Tenants take turns on real workers, whoever sends their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.coroutines import run
from support.different_images import different_images
from support.waiting import LIMIT_S, wait_until
from support.worker_process import WorkerProcess

from clip_worker import AsyncClient
from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX, QueueKeys

if TYPE_CHECKING:
    from pathlib import Path

    import redis
    from celery import Celery

    from clip_worker import Client
    from clip_worker.client.handle import Handle
    from clip_worker.contract import Classification

pytestmark = pytest.mark.integration

KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red", "blue"]


def is_empty(broker: redis.Redis) -> bool:
    """Whether nothing is left of any tenant."""
    return not broker.keys(f"{KEYS.tenant_base}*")


@pytest.mark.usefixtures("running_worker")
def test_messages_of_tenants_are_answered_and_leave_nothing(
    client: Client, plain: Celery, broker: redis.Redis, redis_url: str, image: str
) -> None:
    async def ask() -> str:
        async with AsyncClient(redis_url) as other:
            handle = await other.classify(image, LABELS, tenant="async")
            return (await handle.get(timeout=LIMIT_S)).predictions[0].label

    handles = client.submit_many([image] * 20, LABELS, tenant="org:42", priority=9)
    arguments = {"image": image, "labels": LABELS}
    sent = plain.send_task("clip.classify", kwargs=arguments, headers={"clip_tenant": "other"})

    assert {handle.get(timeout=LIMIT_S).predictions[0].label for handle in handles} == {"red"}
    assert sent.get(timeout=LIMIT_S)["predictions"][0]["label"] == "red"
    assert run(ask()) == "red"
    assert is_empty(broker)


@pytest.mark.slow
def test_ten_images_are_taken_in_turn_with_those_of_a_tenant_that_has_very_many(
    client: Client, broker: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    def waiting() -> tuple[int, int]:
        """How many images of each tenant wait, at one moment."""
        found: Any = broker.zmscore(KEYS.tenants_waiting, ["large", "small"])
        return int(found[0] or 0), int(found[1] or 0)

    # given a worker that is busy with very many
    images = different_images(tmp_path, 2010)
    client.submit_many(images[:2000], LABELS, tenant="large")
    with WorkerProcess(redis_url, tmp_path, concurrency="16"):
        wait_until(lambda: waiting()[0] < 1950)
        # when
        client.submit_many(images[2000:], LABELS, tenant="small")
        first = found = waiting()
        # then, as long as there are some, no more of the others are taken than of these
        while found[1]:
            large_taken, small_taken = first[0] - found[0], first[1] - found[1]
            assert large_taken <= small_taken + 1
            found = waiting()


@pytest.mark.slow
def test_ten_images_are_answered_before_those_that_a_worker_has_prefetched(
    client: Client, broker: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    def answered(handles: list[Handle[Classification]]) -> int:
        return sum(map(bool, broker.mget([RESULT_PREFIX + each.id for each in handles])))

    # given a worker that has prefetched about a thousand images of a large tenant
    images = different_images(tmp_path, 3010)
    large = client.submit_many(images[:3000], LABELS, tenant="large")
    with WorkerProcess(redis_url, tmp_path, concurrency="1000", file_roots=str(tmp_path)):
        wait_until(lambda: answered(large) >= 200)
        # when
        before = answered(large)
        small = client.submit_many(images[3000:], LABELS, tenant="small")
        wait_until(lambda: answered(small) == 10)
        # then they did not wait for those
        assert answered(large) - before < 500


@pytest.mark.slow
def test_a_worker_on_kombus_transport_takes_messages_of_tenants_too(
    client: Client, broker: redis.Redis, redis_url: str, tmp_path: Path, image: str
) -> None:
    handles = client.submit_many([image] * 5, LABELS, tenant="a")
    with WorkerProcess(redis_url, tmp_path, queue_path="stock"):
        assert {handle.get(timeout=LIMIT_S).predictions[0].label for handle in handles} == {"red"}
    assert is_empty(broker)
