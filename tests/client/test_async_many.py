"""`AsyncClient.classify_many` on a real Redis."""

from __future__ import annotations

import asyncio

import pytest
from support.coroutines import STORED, run, serve, until
from support.sent_messages import IMAGE, LABELS

from clip_worker import AsyncClient
from clip_worker.errors import ClipWorkerError, ServiceError
from clip_worker.redis.url import connect

pytestmark = pytest.mark.integration


@pytest.fixture
def redis(redis_url):
    with connect(redis_url) as redis:
        yield redis


def outcome(uri: str) -> dict:
    return {"status": "ok", "result": STORED | {"model": uri}}


def test_many_images_are_sent_in_chunks_and_each_has_its_outcome(redis_url, redis):
    uris = [f"https://example.org/{number}.jpg" for number in range(100)]

    def reply(arguments):
        images = arguments["images"]
        if uris[7] in images:
            return ServiceError("The task killed its worker 4 times.", "POISON")
        return [outcome(uri) for uri in images]

    async def main():
        async with AsyncClient(redis_url) as client:
            # 7 is in a chunk of 8, each of which is sent again; one URI is malformed
            serving = asyncio.ensure_future(serve(redis, reply, 13 + 8))
            many = client.classify_many([*uris, "cat.jpg"], LABELS, chunk=8, in_flight=3)
            found = {position: each async for position, each in many}
            await serving
        return found

    found = run(main())
    assert len(found) == 101
    assert {position for position, each in found.items() if each.error} == {7, 100}
    assert [found[7].error.code, found[100].error.code] == ["POISON", "BAD_URI"]
    assert all(each.result.model == uris[n] for n, each in found.items() if each.result)
    assert redis.keys("celery-task-meta-*") == []


@pytest.mark.parametrize("keep_results", [False, True])
def test_who_stops_early_leaves_no_subscription(redis_url, redis, keep_results):
    async def main():
        async with AsyncClient(redis_url) as client:
            serving = asyncio.ensure_future(serve(redis, lambda _: [outcome("x")], 1))
            many = client.classify_many([IMAGE] * 9, LABELS, chunk=1, keep_results=keep_results)
            async for _ in many:
                break
            await many.aclose()
            await serving
            await until(lambda: not redis.pubsub_channels())
            assert len(redis.keys("celery-task-meta-*")) == keep_results
            with pytest.raises(ClipWorkerError):
                await anext(client.classify_many([IMAGE], LABELS, timeout=0))

    run(main())
