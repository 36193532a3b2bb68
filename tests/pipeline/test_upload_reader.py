"""Uploads: read from a real Redis, several a round trip, within a bound of bytes."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from worker.errors import ClipWorkerError
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.upload_reader import UploadReader
from worker.sources import UploadStore
from worker.sources.upload import SMALL_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

LIMIT_S = 20.0
MAX_BYTES = 4 * SMALL_BYTES
REQUEST = TaggingRequest(("a",), ("{}",), 1)


class Desk:
    """A reader, its store, and what came of each task."""

    def __init__(self, redis: Redis, most_bytes: int) -> None:
        self.redis = redis
        self.store = UploadStore(redis)
        self.reader = UploadReader(self.store, max_bytes=MAX_BYTES, most_bytes=most_bytes)
        self.ends: queue.Queue[tuple[ImageTask, Any]] = queue.Queue()

    def put(self, *uris: str) -> list[ImageTask]:
        tasks = [ImageTask(uri, REQUEST, None) for uri in uris]  # type: ignore[arg-type]  # nobody waits
        self.reader.put(
            tasks,
            then=lambda read: [self.ends.put((task, task.data)) for task in read],  # type: ignore[func-returns-value]
            failed=lambda task, error: self.ends.put((task, error)),
        )
        return tasks

    def take(self, count: int) -> dict[str, Any]:
        ends = [self.ends.get(timeout=LIMIT_S) for _ in range(count)]
        return {task.image: end for task, end in ends}


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def test_each_upload_gets_its_bytes_or_what_is_wrong_with_it(redis: Redis) -> None:
    desk = Desk(redis, most_bytes=100 * MAX_BYTES)
    small, edge, large, huge = (
        desk.store.put(bytes([65 + i]) * size)
        for i, size in enumerate((10, SMALL_BYTES, SMALL_BYTES + 1, MAX_BYTES + 1))
    )
    gone = "redis://uploads/" + "0" * 64
    desk.put(small, gone, large, "redis://uploads/none", huge, edge)
    ends = desk.take(6)
    desk.reader.stop(LIMIT_S)
    assert (ends[small], len(ends[edge]), len(ends[large])) == (
        b"A" * 10,
        SMALL_BYTES,
        SMALL_BYTES + 1,
    )
    errors = {uri: end.code for uri, end in ends.items() if isinstance(end, ClipWorkerError)}
    assert errors == {
        gone: "UPLOAD_NOT_FOUND",
        "redis://uploads/none": "BAD_URI",
        huge: "FETCH_TOO_LARGE",
    }


def test_no_more_is_read_than_the_bound_until_bytes_are_released(redis: Redis) -> None:
    # given room for two large uploads, and three of them
    desk = Desk(redis, most_bytes=3 * SMALL_BYTES)
    uris = [desk.store.put(bytes([65 + i]) * 2 * SMALL_BYTES) for i in range(3)]
    desk.put(*uris)
    first, _ = (desk.ends.get(timeout=LIMIT_S)[0] for _ in range(2))
    assert desk.reader._held_bytes == 4 * SMALL_BYTES
    assert desk.ends.empty()
    # when one is released, and once more
    desk.reader.release(first)
    desk.reader.release(first)
    # then the third is read
    task, data = desk.ends.get(timeout=LIMIT_S)
    assert (task.image, len(data)) == (uris[2], 2 * SMALL_BYTES)
    desk.reader.stop(LIMIT_S)


def test_what_redis_refuses_fails_for_now(redis: Redis) -> None:
    desk = Desk(redis, most_bytes=MAX_BYTES)
    uri = desk.store.put(b"x")
    redis.delete(desk.store._prefix + uri.rpartition("/")[2])
    redis.lpush(desk.store._prefix + uri.rpartition("/")[2], "no string")
    desk.put(uri)
    error = desk.take(1)[uri]
    desk.reader.stop(LIMIT_S)
    assert (error.code, "WRONGTYPE" in error.message) == ("UPLOAD_STORE", True)
