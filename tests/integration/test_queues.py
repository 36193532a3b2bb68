"""One worker on two queues."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import PIL.Image
import pytest
from support.worker_process import WorkerProcess

from worker.client import Client
from worker.contract.keys import RESULT_PREFIX

if TYPE_CHECKING:
    from pathlib import Path

    import redis
    from support.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red square", "blue circle"]
MANY, FEW = 400, 20
LIMIT_S = 120.0


def _done_at(server: redis.Redis, task_id: str) -> str:
    return str(json.loads(server.get(RESULT_PREFIX + task_id) or b"{}")["date_done"])


def test_a_short_queue_does_not_wait_for_the_end_of_a_long_one(
    redis_server: RedisServer, redis_url: str, tmp_path: Path
) -> None:
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "cat.png")
    image = (tmp_path / "cat.png").as_uri()
    command = (sys.executable, "-m", "celery", "-A", "worker", "worker", "-Q", "long,short")
    with (
        Client(redis_url, queue="long") as long,
        Client(redis_url, queue="short") as short,
    ):
        of_long = long.submit_many([image] * MANY, LABELS)
        of_short = short.submit_many([image] * FEW, LABELS)

        with WorkerProcess(redis_url, tmp_path, command=command):
            for handle in (*of_short, *of_long):
                handle.get(LIMIT_S)

    server = redis_server.client()
    last = max(_done_at(server, handle.id) for handle in of_short)
    before = sum(_done_at(server, handle.id) < last for handle in of_long)
    assert before < MANY / 2
