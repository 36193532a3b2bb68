"""A thousand coroutines on one client, and a real worker."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.coroutines import run

from clip_worker import AsyncClient

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red square", "blue circle"]
CALLS = 1000
MOST_CONNECTIONS = 10


def test_a_thousand_coroutines_share_ten_connections_and_start_no_thread(
    running_worker, redis_url, broker, image_file
):
    most_connections = 0

    async def classify(client, image):
        handle = await client.classify(image, LABELS, k=1)
        return (await handle).predictions[0].label

    async def count(client):
        nonlocal most_connections
        while True:
            names = [each["name"] for each in broker.client_list()]
            most_connections = max(most_connections, names.count("coroutines"))
            await asyncio.sleep(0.02)

    async def main():
        threads = threading.active_count()
        async with AsyncClient(f"{redis_url}?client_name=coroutines") as client:
            image = await client.upload(image_file.read_bytes(), keep=True)
            counting = asyncio.create_task(count(client))
            labels = await asyncio.gather(*(classify(client, image) for _ in range(CALLS)))
            assert threading.active_count() == threads
            counting.cancel()
            assert labels == ["red square"] * CALLS
            # and many images in each message
            many = client.classify_many([image] * 100, LABELS)
            assert {position async for position, outcome in many if outcome.result} == {*range(100)}

    run(main())
    assert 2 <= most_connections <= MOST_CONNECTIONS
