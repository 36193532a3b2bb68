"""A Redis that fails over to another address, with real sentinels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError
from redis_sentinel import SentinelDeployment

from worker.redis_url import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

LIMIT_S = 30.0
PAUSE_S = 0.1


@pytest.fixture
def deployment() -> Iterator[SentinelDeployment]:
    with SentinelDeployment() as deployment:
        yield deployment


@pytest.mark.parametrize("disaster", ["fail_over", "kill_master"])
def test_our_connection_finds_the_new_master(deployment: SentinelDeployment, disaster: str) -> None:
    with connect(deployment.url) as redis:
        redis.set("before", "1")
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
