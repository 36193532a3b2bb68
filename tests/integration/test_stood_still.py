"""A worker that was stopped for longer than its lease: what others have by now it doesn't begin."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image
import pytest
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from worker.contract import CLASSIFY
from worker.contract.keys import QueueKeys
from worker.settings import DEFAULT_QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis
    from support.redis_server import RedisServer

    from worker.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red square", "blue circle"]
LEASE_S = "3"
ENCODE_S = 0.2
BATCH = 2
TASKS = 30
LIMIT_S = 120.0
DROPPED = "messages that other workers have now"
# An ETA that is over when the worker goes on, and not before it has stopped.
COUNTDOWN_S = 8.0


def marks_of(folder: Path, pid: int) -> list[str]:
    """What a process has begun, in order: see marking_app.py."""
    file = folder / str(pid)
    return file.read_text().split() if file.exists() else []


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def image(tmp_path: Path) -> str:
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "cat.png")
    return (tmp_path / "cat.png").as_uri()


@pytest.fixture
def start(redis_url: str, tmp_path: Path, marks: Path) -> Iterator[Callable[..., WorkerProcess]]:
    workers: list[WorkerProcess] = []

    def start(name: str, encode_s: float = 0.0) -> WorkerProcess:
        variables = f"PYTHONPATH={Path(__file__).parent} MARKS={marks} ENCODE_S={encode_s}"
        command = f"env {variables} {sys.executable} -m celery -A marking_app worker -n {name}@%h"
        worker = WorkerProcess(
            redis_url,
            tmp_path,
            name=name,
            command=(*command.split(), "--loglevel", "info"),
            lease_s=LEASE_S,
            replicas="1",
            max_batch=str(BATCH),
        )
        workers.append(worker)
        worker.start()
        worker.wait_for_log("is ready on")
        return worker

    yield start
    for worker in workers:
        worker.running.send_signal(signal.SIGCONT)
        worker.kill()


def test_it_encodes_nothing_that_another_worker_has_taken_over(
    start: Callable[..., WorkerProcess], client: Client, image: str, marks: Path
) -> None:
    # given a worker that stands still with many pictures before its model, by both ways
    stopped = start("stopped", ENCODE_S)
    pid = stopped.running.pid
    handles = client.submit_many([image] * TASKS, LABELS)
    task = client._app.signature(CLASSIFY, kwargs={"image": image, "labels": LABELS})
    task.link_error(client._app.signature("no.such.task")).set(queue=DEFAULT_QUEUE)
    handles += [client.handle(task.apply_async().id) for _ in range(TASKS)]
    wait_until(lambda: len(marks_of(marks, pid)) > BATCH)
    stopped.running.send_signal(signal.SIGSTOP)
    before = len(marks_of(marks, pid))
    assert before < TASKS

    # when another one has done all of them, and it goes on
    other = start("other")
    for handle in handles:
        assert handle.get(LIMIT_S).predictions
    stopped.running.send_signal(signal.SIGCONT)

    # then it begins none of them; but a batch may have been about to at that very moment
    stopped.wait_for_log(DROPPED)
    assert other.stop() == 0
    assert client.classify(image, LABELS).get(LIMIT_S).predictions
    assert len(marks_of(marks, pid)) - before <= BATCH + 1
    assert stopped.stop() == 0


def test_it_runs_no_task_of_celerys_that_another_worker_has_taken_over(
    start: Callable[..., WorkerProcess],
    client: Client,
    redis_server: RedisServer,
    image: str,
    marks: Path,
) -> None:
    server: redis.Redis = redis_server.client()
    note = client._app.signature("marking.note").set(queue=DEFAULT_QUEUE)
    # given a worker that stands still while tasks wait in Celery for their time
    stopped = start("stopped")
    results = [note.clone((i,)).apply_async(countdown=COUNTDOWN_S) for i in range(TASKS)]
    wait_until(lambda: unacked(server, KEYS) == TASKS)
    stopped.running.send_signal(signal.SIGSTOP)
    assert marks_of(marks, stopped.running.pid) == []

    # when another one has run all of them, and it goes on
    other = start("other")
    wait_until(lambda: all(server.exists(f"celery-task-meta-{result.id}") for result in results))
    stopped.running.send_signal(signal.SIGCONT)

    # then it runs none of them, and others it does
    stopped.wait_for_log(DROPPED)
    assert other.stop() == 0
    last = note.clone((TASKS,)).apply_async()
    wait_until(lambda: bool(server.exists(f"celery-task-meta-{last.id}")))
    assert client.classify(image, LABELS).get(LIMIT_S).predictions
    assert marks_of(marks, stopped.running.pid) == [f"note-{TASKS}", "encode"]
    assert stopped.stop() == 0


def test_what_nobody_has_taken_over_it_goes_on_with(
    start: Callable[..., WorkerProcess],
    client: Client,
    redis_server: RedisServer,
    image: str,
    marks: Path,
) -> None:
    server: redis.Redis = redis_server.client()
    worker = start("alone", ENCODE_S)
    handles = client.submit_many([image] * TASKS, LABELS)
    wait_until(lambda: len(marks_of(marks, worker.running.pid)) > BATCH)
    worker.running.send_signal(signal.SIGSTOP)
    # when its lease has lapsed
    ends = max(score for _, score in server.zrange(KEYS.leases, 0, -1, withscores=True))
    wait_until(lambda: server.time()[0] > ends)
    worker.running.send_signal(signal.SIGCONT)

    for handle in handles:
        assert handle.get(LIMIT_S).predictions
    assert len(marks_of(marks, worker.running.pid)) == TASKS
    assert DROPPED not in worker.log
