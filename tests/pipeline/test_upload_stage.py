"""Uploads: read from a real Redis, several a round trip, within a bound of bytes."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from clip_worker.errors import ClipWorkerError
from clip_worker.redis.uploads import SMALL_BYTES, UploadStore
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.upload_stage import UploadStage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration

LIMIT_S = 20.0
MAX_BYTES = 4 * SMALL_BYTES
REQUEST = TaggingRequest(("a",), ("{}",), 1)


class Bench:
    """A stage, its store, and the outcome of each task."""

    def __init__(self, redis: Redis, most_bytes: int) -> None:
        self.store = UploadStore(redis)
        self.ends: queue.Queue[tuple[ImageTask, Any]] = queue.Queue()
        self.stage = UploadStage(
            self.store,
            max_bytes=MAX_BYTES,
            most_bytes=most_bytes,
            then=lambda read: [self.ends.put((task, task.data)) for task in read],
            failed=lambda task, error: self.ends.put((task, error)),
        )

    def run(self, *uris: str) -> None:
        self.stage.run([ImageTask(uri, REQUEST, None) for uri in uris])  # type: ignore[arg-type]  # no owner

    def take(self, count: int) -> dict[str, Any]:
        ends = [self.ends.get(timeout=LIMIT_S) for _ in range(count)]
        return {task.image: end for task, end in ends}


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def make(redis: Redis) -> Iterator[Callable[[int], Bench]]:
    made: list[Bench] = []

    def bench(most_bytes: int) -> Bench:
        made.append(Bench(redis, most_bytes))
        return made[-1]

    yield bench
    for each in made:
        each.stage.stop(LIMIT_S)


def test_each_upload_gets_its_bytes_or_what_is_wrong_with_it_and_others_pass(
    make: Callable[[int], Bench],
) -> None:
    bench = make(100 * MAX_BYTES)
    small, edge, large, huge = (
        bench.store.put(bytes([65 + i]) * size)
        for i, size in enumerate((10, SMALL_BYTES, SMALL_BYTES + 1, MAX_BYTES + 1))
    )
    gone, wrong, other = "redis://uploads/" + "0" * 64, "redis://uploads/none", "file:///cat.jpg"
    bench.run(small, gone, large, wrong, other, huge, edge)
    ends = bench.take(7)
    assert ends[small] == b"A" * 10
    assert [len(ends[uri]) for uri in (edge, large)] == [SMALL_BYTES, SMALL_BYTES + 1]
    assert ends[other] is None
    errors = {uri: end.code for uri, end in ends.items() if isinstance(end, ClipWorkerError)}
    assert errors == {gone: "UPLOAD_NOT_FOUND", wrong: "BAD_URI", huge: "FETCH_TOO_LARGE"}


def test_no_more_is_read_than_the_bound_until_bytes_are_released(
    make: Callable[[int], Bench],
) -> None:
    # given room for two large uploads, and three of them
    bench = make(3 * SMALL_BYTES)
    uris = [bench.store.put(bytes([65 + i]) * 2 * SMALL_BYTES) for i in range(3)]
    bench.run(*uris)
    first, _ = (bench.ends.get(timeout=LIMIT_S)[0] for _ in range(2))
    assert bench.stage.held_bytes == 4 * SMALL_BYTES
    assert bench.ends.empty()
    # when one is released, and once more
    bench.stage.release(first)
    bench.stage.release(first)
    # then the third is read
    assert len(bench.take(1)[uris[2]]) == 2 * SMALL_BYTES


def test_what_redis_refuses_fails_for_now(make: Callable[[int], Bench], redis: Redis) -> None:
    bench = make(MAX_BYTES)
    uri = bench.store.put(b"x")
    key = min(redis.keys("*"), key=len)  # the other has its users
    redis.delete(key)
    redis.lpush(key, "no string")
    bench.run(uri)
    error = bench.take(1)[uri]
    assert (error.code, "WRONGTYPE" in error.message) == ("UPLOAD_STORE", True)
