"""What Redis and the network may do to a worker that is at work, and how it goes on by itself.

Restarts and failovers are in test_failover.py and test_torture.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.image_zoo import photo
from support.queue_state import unacked
from support.redis_server import RedisServer, find_executable
from support.waiting import wait_until
from support.worker_process import WorkerProcess
from torture.proxy import Proxy

from worker.client import Client
from worker.contract.keys import QueueKeys
from worker.settings import DEFAULT_QUEUE

if TYPE_CHECKING:
    from pathlib import Path

    import redis

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 60.0
PARTITION_S = 12.0  # longer than any timeout of a connection
TASKS = 2000  # some seconds' work
KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red", "green"]


def test_partition_full_memory_and_slow_replies_cost_time_and_nothing_else(tmp_path: Path) -> None:
    executable = find_executable()
    assert executable is not None
    path = tmp_path / "a.jpg"
    photo((160, 120), seed=1).save(path)
    uri = path.as_uri()
    with (
        RedisServer(executable) as server,
        Proxy(server.port) as proxy,
        WorkerProcess(proxy.url, tmp_path, lease_s="40") as worker,
        Client(server.url) as client,
    ):
        redis = server.client()

        # given: a while in which nothing passes, from the middle of the work on
        handles = client.submit_many([uri] * TASKS, LABELS)
        wait_until(lambda: _stored(redis) > 20)
        proxy.cut()
        time.sleep(PARTITION_S)
        assert _stored(redis) < TASKS
        # when it is over, then the same process finishes, and no task was anybody else's
        proxy.heal()
        wait_until(lambda: _stored(redis) == TASKS)
        wait_until(lambda: unacked(redis, KEYS) == 0)
        assert worker.log.count("succeeded in") == TASKS
        for sign in ("from a lost worker", "results were not stored"):
            assert sign not in worker.log

        # given: a Redis whose memory is full
        handles += [client.classify(uri, LABELS) for _ in range(50)]
        redis.config_set("maxmemory", 1)
        # then what it has is answered all the same
        wait_until(lambda: _stored(redis) == TASKS + 50)
        wait_until(lambda: unacked(redis, KEYS) == 0)
        redis.config_set("maxmemory", 0)

        # given: each reply takes a second
        redis.execute_command("CLIENT", "PAUSE", 1000, "ALL")
        handles += [client.classify(uri, LABELS) for _ in range(20)]
        assert all(handle.get(LIMIT_S).predictions for handle in handles)
        assert worker.running.poll() is None


def _stored(redis: redis.Redis) -> int:
    return sum(1 for _ in redis.scan_iter("celery-task-meta-*", count=1000))
