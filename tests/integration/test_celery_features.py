"""What Celery users may ask of any task holds on the queue path too."""

from __future__ import annotations

import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import chord
from celery.exceptions import ChordError, NotRegistered, TaskRevokedError
from PIL import Image
from support.queue_state import accuse, unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from worker.contract.keys import QueueKeys, dead_key
from worker.errors import InvalidRequestError
from worker.settings import DEFAULT_QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery

    from worker.client import Client

pytestmark = pytest.mark.integration

LIMIT_S = 60.0
REPLY_S = 5.0  # what is asked before the worker listens is never answered
LABELS = {"labels": ["red", "green"], "k": 1}
KEYS = QueueKeys(DEFAULT_QUEUE)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    path = tmp_path / "red.png"
    Image.new("RGB", (100, 100), (200, 20, 20)).save(path)
    return path.as_uri()


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def _end(result: Any) -> Any:
    """What a task came to: its answer or its error."""
    result.get(LIMIT_S, propagate=False)
    return result.result


def _is_nothing_in_hand(server: redis.Redis) -> bool:
    return unacked(server, KEYS) == server.llen(DEFAULT_QUEUE) == 0


def test_the_ways_that_celery_offers_to_send_a_task(
    running_worker: WorkerProcess, plain: Celery, server: redis.Redis, uri: str
) -> None:
    send = plain.send_task

    # an ETA is waited for, on the worker
    before = time.time()
    assert _end(send("clip.classify", (uri,), LABELS, countdown=1.5))["predictions"]
    assert time.time() - before >= 1.5

    # what has expired is not run, and its result says so
    expired = _end(send("clip.classify", ("file:///not/asked/for",), LABELS, expires=-5))
    assert isinstance(expired, TaskRevokedError)
    assert expired.args == ("expired",)

    # what was revoked is not run, whether it is revoked before it comes or while it waits
    task_id = str(uuid.uuid4())
    plain.control.revoke(task_id)
    wait_until(lambda: task_id in _revoked(plain))
    waiting = send("clip.classify", (uri,), LABELS, countdown=5)  # Celery holds it until then
    plain.control.revoke(waiting.id)
    for result in (send("clip.classify", (uri,), LABELS, task_id=task_id), waiting):
        assert isinstance(_end(result), TaskRevokedError)

    # wrong calls have typed ends
    assert isinstance(_end(send("clip.classify", (uri, ["a"], 3))), InvalidRequestError)
    assert isinstance(_end(send("clip.unknown", (uri,))), NotRegistered)

    # a result that nobody wants is not stored
    quiet = send("clip.classify", (uri,), LABELS, ignore_result=True)
    wait_until(lambda: f"clip.classify[{quiet.id}] succeeded" in running_worker.log)
    wait_until(lambda: _is_nothing_in_hand(server))
    assert server.get(f"celery-task-meta-{quiet.id}") is None


def _revoked(app: Celery) -> list[str]:
    told = app.control.inspect(timeout=REPLY_S, limit=1).revoked() or {}
    return [task_id for ids in told.values() for task_id in ids]


def test_inspection_shows_the_queue_and_what_is_in_hand(
    redis_url: str, tmp_path: Path, plain: Celery, uri: str
) -> None:
    with WorkerProcess(redis_url, tmp_path):
        _inspect(plain, uri)


def _inspect(plain: Celery, uri: str) -> None:
    held = plain.send_task("clip.classify", (uri,), LABELS, countdown=600)
    inspect = plain.control.inspect(timeout=REPLY_S, limit=1)
    wait_until(lambda: held.id in str(inspect.scheduled()))

    [scheduled_here] = inspect.scheduled().values()
    assert len(scheduled_here) == 1
    assert inspect.reserved() == inspect.active()  # nothing: a task that waits is neither

    [queues] = inspect.active_queues().values()

    assert [queue["name"] for queue in queues] == [DEFAULT_QUEUE]

    # and queues can be added and taken away while the worker runs
    plain.control.add_consumer("more")
    assert _end(plain.send_task("clip.classify", (uri,), LABELS, queue="more"))["predictions"]
    [queues] = inspect.active_queues().values()
    assert [queue["name"] for queue in queues] == [DEFAULT_QUEUE, "more"]
    plain.control.cancel_consumer("more")
    wait_until(lambda: "more" not in str(inspect.active_queues()))

    plain.control.revoke(held.id)
    assert isinstance(_end(held), TaskRevokedError)


@pytest.mark.slow
def test_a_worker_takes_from_the_queues_of_its_command_line_and_names_them(
    redis_url: str, tmp_path: Path, plain: Celery, server: redis.Redis, uri: str
) -> None:
    command = (sys.executable, "-m", "celery", "-A", "worker", "worker", "-Q", "a,b")
    other = plain.send_task("clip.classify", (uri,), LABELS)
    with WorkerProcess(redis_url, tmp_path, command=command) as worker:
        sent = [plain.send_task("clip.classify", (uri,), LABELS, queue=name) for name in "ab"]
        assert all(_end(result)["predictions"] for result in sent)
        inspect = plain.control.inspect(timeout=REPLY_S, limit=1)
        wait_until(lambda: "total" in str(inspect.stats()))
        [queues], [stats] = inspect.active_queues().values(), inspect.stats().values()

    assert "queues 'a', 'b' at redis://" in worker.log
    assert [queue["name"] for queue in queues] == ["a", "b"]
    assert stats["total"] == {"clip.classify": 2}
    assert (server.llen(DEFAULT_QUEUE), other.state) == (1, "PENDING")


def test_a_message_that_is_none_becomes_a_dead_letter_and_holds_up_nobody(
    running_worker: WorkerProcess, client: Client, server: redis.Redis, uri: str
) -> None:
    assert running_worker.running.poll() is None
    server.lpush(DEFAULT_QUEUE, "{no message")

    assert client.classify(uri, ["red", "green"]).get(LIMIT_S).predictions

    wait_until(lambda: server.hlen(dead_key(DEFAULT_QUEUE)) == 1)
    [letter] = server.hvals(dead_key(DEFAULT_QUEUE))
    assert b"UNREADABLE" in letter
    assert b"{no message" in letter
    wait_until(lambda: _is_nothing_in_hand(server))


@pytest.mark.slow
def test_tasks_with_a_higher_priority_number_wait_behind_others(
    tmp_path: Path, redis_url: str, plain: Celery, server: redis.Redis, uri: str
) -> None:

    later = plain.send_task("clip.classify", (uri,), LABELS, priority=9)
    sooner = plain.send_task("clip.classify", (uri,), LABELS, priority=0)
    with WorkerProcess(redis_url, tmp_path, concurrency="1") as worker:  # one in hand at a time
        assert _end(later)["predictions"]
        assert _end(sooner)["predictions"]
        assert worker.log.index(f"[{sooner.id}] succ") < worker.log.index(f"[{later.id}] succ")
    assert server.llen(KEYS.lists[3]) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_a_chord_with_a_member_that_kills_workers_ends_with_that_error(
    tmp_path: Path, redis_url: str, plain: Celery, server: redis.Redis, uri: str
) -> None:
    # given: one member has killed four workers, each time alone
    member = plain.signature("clip.classify", args=(uri,), kwargs=LABELS)
    body = member.clone(immutable=True)
    result = chord([member, member.clone()], body, app=plain).apply_async()
    accuse(server, KEYS, 4)

    with WorkerProcess(redis_url, tmp_path):
        error = _end(result)

    assert isinstance(error, ChordError)
    assert "'POISON'" in str(error)
    assert server.hlen(dead_key(DEFAULT_QUEUE)) == 1
