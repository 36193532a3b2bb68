"""Redis's clock is set back by an hour: a dead worker's messages don't wait for it to catch up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import PIL.Image
import pytest
from support import redis_clock
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from worker.contract.keys import QueueKeys

if TYPE_CHECKING:
    from pathlib import Path

    import redis
    from support.redis_server import RedisServer

    from worker.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEYS = QueueKeys("clip")
LABELS = ["red square", "blue circle"]
HOUR_S = 3600
LEASE_S = "3"
LIMIT_S = 60.0


def _held(server: redis.Redis) -> int:
    return int(unacked(server, KEYS))


def test_what_a_dead_worker_held_is_taken_over_and_what_a_living_one_holds_is_not(
    redis_server: RedisServer, redis_url: str, client: Client, tmp_path: Path
) -> None:
    server = redis_server.client()
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "cat.png")
    image = (tmp_path / "cat.png").as_uri()
    # given a worker that dies with tasks in hand, and then a clock that is set back
    with WorkerProcess(redis_url, tmp_path, name="dead", lease_s=LEASE_S):
        wait_until(lambda: bool(server.exists(KEYS.tick)))
        handles = client.submit_many([image] * 100, LABELS)
        wait_until(lambda: _held(server) > 0)
    assert _held(server) > 0
    redis_clock.set_back(server, KEYS, HOUR_S)
    with WorkerProcess(redis_url, tmp_path, name="living", lease_s=LEASE_S) as living:
        # then another worker answers all of them
        end = time.monotonic() + LIMIT_S
        assert all(h.get(max(1.0, end - time.monotonic())).predictions for h in handles)
        # and when the clock is set back under it, then it goes on with what it holds
        taken_over = living.log.count("from a lost worker")
        handles = client.submit_many([image] * 100, LABELS)
        wait_until(lambda: _held(server) > 0)
        redis_clock.set_back(server, KEYS, HOUR_S)
        assert all(handle.get(LIMIT_S).predictions for handle in handles)
        assert living.log.count("from a lost worker") == taken_over
        assert "results were not stored" not in living.log
