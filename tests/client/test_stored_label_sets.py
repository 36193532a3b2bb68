"""Label sets that one client has stored and another one reads, on a real Redis."""

from __future__ import annotations

import pytest
from support.coroutines import run
from support.failure import failure_of

from clip_worker import AsyncClient, Client, LabelSetCalibration
from clip_worker.errors import ServiceError
from clip_worker.redis.label_sets import KEY_PREFIX
from clip_worker.redis.url import connect

pytestmark = pytest.mark.integration

PATHS = ["animal > cat", "animal>dog"]
MANY = [f"label > {number}" for number in range(30_000)]  # which coroutines read in a thread
CALIBRATION = LabelSetCalibration(
    thresholds=(0.5, None), model_digest="0" * 64, templates=("a {}",), score="softmax", rows=40
)


@pytest.fixture
def client(redis_url):
    with Client(redis_url) as client:
        yield client


def read_by_coroutine(redis_url):
    async def main():
        async with AsyncClient(redis_url) as client:
            return await client.get_label_set("pets")

    return run(main())


def stored_by_coroutine(redis_url, labels, **options):
    async def main():
        async with AsyncClient(redis_url) as client:
            return await client.put_label_set("pets", labels, **options)

    return run(main())


@pytest.mark.parametrize("labels", [PATHS, MANY], ids=["few", "many"])
def test_both_clients_store_and_read_the_same(client, redis_url, labels):
    options = {"hierarchical": True}
    if labels is PATHS:
        options["calibration"] = CALIBRATION
    version = client.put_label_set("pets", labels, **options)
    found = client.get_label_set("pets")
    assert (found.version, len(found.labels)) == (version, len(labels))
    assert found.calibration == options.get("calibration")
    assert read_by_coroutine(redis_url) == found
    assert stored_by_coroutine(redis_url, labels, **options) == version
    assert client.get_label_set("pets") == found


@pytest.mark.parametrize("kind", ["list", "text"])
def test_what_is_no_label_set_is_reported_by_both_clients(client, redis_url, kind):
    with connect(redis_url) as redis:
        redis.delete(KEY_PREFIX + "pets")
        put = redis.rpush if kind == "list" else redis.set
        put(KEY_PREFIX + "pets", "cat")
    error = failure_of(client.get_label_set, "pets")
    assert (type(error), error.code) == (ServiceError, "BAD_LABEL_SET")
    with pytest.raises(ServiceError) as caught:
        read_by_coroutine(redis_url)
    assert caught.value.args == error.args
