"""Tasks that publish a second message of their id before the first is acknowledged all end."""

from __future__ import annotations

import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from support.queue_state import unacked
from support.worker_process import WorkerProcess

from worker.contract.keys import QueueKeys
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from celery.result import AsyncResult

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
QUEUE = str(Settings.model_fields["queue"].default)
KEYS = QueueKeys(QUEUE)


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def _workers(redis_url: str, folder: Path, count: int, stack: ExitStack) -> list[WorkerProcess]:
    path = Path(__file__).parent
    workers = []
    for n in range(count):
        command = (
            *("env", f"PYTHONPATH={path}:{path.parents[1]}", sys.executable, "-m", "celery"),
            *("-A", "retrying_app", "worker", "-n", f"own{n}@%h", "--loglevel", "info"),
        )
        # a lease far longer than the test: nothing may wait for one to run out
        worker = WorkerProcess(redis_url, folder, name=f"own{n}", command=command, lease_s="600")
        workers.append(stack.enter_context(worker))
    return workers


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def _send(app: Celery, name: str, *args: Any) -> AsyncResult[Any]:
    return app.send_task(name, args, queue=QUEUE)


@pytest.mark.parametrize("count", [1, 2])
def test_tasks_that_retry_or_replace_themselves_are_not_lost(
    redis_url: str, tmp_path: Path, plain: Celery, server: redis.Redis, count: int
) -> None:
    with ExitStack() as stack:
        workers = _workers(redis_url, tmp_path, count, stack)
        sent = [
            (_send(plain, name, *args), answer)
            for _ in range(10)
            for name, args, answer in (
                ("own.retries", (), 3),
                ("own.autoretries", (), 3),
                ("own.replaces", (21,), 42),
            )
        ]

        # not by their results: Celery may store a try's `RETRY` after the last one's answer
        ends = [
            re.compile(rf"{result.id}\] succeeded in .*: {answer}$", re.MULTILINE)
            for result, answer in sent
        ]

        def all_ended() -> bool:
            log = "\n".join(worker.log for worker in workers)
            return all(end.search(log) for end in ends)

        _wait_until(all_ended, workers[0].log[-2000:])
        _wait_until(lambda: unacked(server, KEYS) == 0, workers[0].log[-2000:])
        assert server.llen(QUEUE) == 0


def test_a_task_that_is_rejected_or_fails_outside_of_its_code_ends(
    redis_url: str, tmp_path: Path, plain: Celery, server: redis.Redis
) -> None:
    with ExitStack() as stack:
        [worker] = _workers(redis_url, tmp_path, 1, stack)

        rejected, failed = _send(plain, "own.rejects"), _send(plain, "own.has_no_memory")

        with pytest.raises(MemoryError):
            failed.get(LIMIT_S)
        _wait_until(lambda: unacked(server, KEYS) == 0, worker.log[-2000:])
        assert server.hkeys(f"clip-worker:{QUEUE}:dead") == [rejected.id.encode()]
        assert worker.running.poll() is None
