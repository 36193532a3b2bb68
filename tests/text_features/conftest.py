"""Features in Redis as workers of one model have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.text_features import DIM

from clip_worker.redis.url import connect
from worker.text_features.redis_features import RedisFeatures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url, retries=0) as redis:
        yield redis


@pytest.fixture
def store(redis: Redis) -> RedisFeatures:
    return RedisFeatures(redis, "model", DIM, 1024 * 1024)
