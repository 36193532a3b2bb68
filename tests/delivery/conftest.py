"""What the tests of the queue consumer's parts share: Redis, and a worker's queue in it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import redis
from support.consumer_stage import Stage
from support.queue_state import KEYS

from worker.delivery.redis_queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEASE_S = 10.0


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty Redis."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def open_queue(server: redis.Redis) -> Callable[[], RedisQueue]:
    """Opens the queue for one more worker."""
    return lambda: RedisQueue(server, KEYS, lease_s=LEASE_S, result_ttl_s=60)


@pytest.fixture
def queue(open_queue: Callable[[], RedisQueue]) -> RedisQueue:
    """A worker's queue."""
    return open_queue()


@pytest.fixture
def other(open_queue: Callable[[], RedisQueue]) -> RedisQueue:
    """The same queue as another worker has it."""
    return open_queue()


@pytest.fixture
def open_stage(redis_url: str) -> Iterator[Callable[..., Stage]]:
    """Opens stages with a test's own policy, and closes them even if the test fails."""
    with contextlib.ExitStack() as opened:
        yield lambda **policy: opened.enter_context(contextlib.closing(Stage(redis_url, **policy)))


@pytest.fixture
def stage(open_stage: Callable[..., Stage]) -> Stage:
    return open_stage()
