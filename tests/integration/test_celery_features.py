"""What Celery users may ask of any task holds on the queue path too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from typing import Any

import pytest
from celery import chord
from celery.exceptions import ChordError, NotRegistered, TaskRevokedError
from support.different_images import different_images
from support.queue_state import accuse, unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX, QueueKeys, dead_key
from clip_worker.errors import InvalidRequestError

pytestmark = pytest.mark.integration

LIMIT_S = 120.0
REPLY_S = 5.0  # what is asked before the worker listens is never answered
LABELS = {"labels": ["red", "green"], "k": 1}
KEYS = QueueKeys(DEFAULT_QUEUE)


def end_of(result: Any) -> Any:
    """What a task came to: its answer or its error."""
    result.get(LIMIT_S, propagate=False)
    return result.result


def nothing_left(broker) -> bool:
    return unacked(broker, KEYS) == broker.llen(DEFAULT_QUEUE) == 0


def test_the_ways_that_celery_offers_to_send_a_task(running_worker, plain, broker, image):
    send = plain.send_task

    # an ETA is waited for, on the worker
    before = time.time()
    assert end_of(send("clip.classify", (image,), LABELS, countdown=1.5))["predictions"]
    assert time.time() - before >= 1.5

    # what has expired is not run, and its result says so
    expired = end_of(send("clip.classify", ("file:///not/asked/for",), LABELS, expires=-5))
    assert isinstance(expired, TaskRevokedError)
    assert expired.args == ("expired",)

    # what was revoked before it comes is not run (the next test: while it waits)
    task_id = str(uuid.uuid4())
    plain.control.revoke(task_id)
    wait_until(lambda: task_id in str(plain.control.inspect(timeout=REPLY_S, limit=1).revoked()))
    revoked = send("clip.classify", (image,), LABELS, task_id=task_id)
    assert isinstance(end_of(revoked), TaskRevokedError)

    # wrong calls have typed ends
    assert isinstance(end_of(send("clip.classify", (image, ["a"], 3))), InvalidRequestError)
    assert isinstance(end_of(send("clip.unknown", (image,))), NotRegistered)

    # a result that nobody wants is not stored
    quiet = send("clip.classify", (image,), LABELS, ignore_result=True)
    wait_until(lambda: f"clip.classify[{quiet.id}] succeeded" in running_worker.log)
    wait_until(lambda: nothing_left(broker))
    assert broker.get(f"celery-task-meta-{quiet.id}") is None


# An application with Celery but no package of ours, whatever is installed.
FOREIGN = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("clip_worker", "clip_engine", "worker"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
import traceback
from celery import Celery, chain, group
from celery.result import AsyncResult

app = Celery(broker=sys.argv[1], backend=sys.argv[1], set_as_current=False)
ours = app.signature("clip.classify", ("data:,", []), queue="clip")
links = chain(ours, app.signature("backend.best_label", queue="user"))
for sent in (ours, links, group(ours, ours)):
    result = sent.apply_async()
    try:
        AsyncResult(result.id, app=app).get(60) if sent is ours else result.get(60)
    except Exception as error:
        print("".join(traceback.format_exception_only(error)), end="")
"""


def test_an_application_without_our_package_gets_errors_that_people_can_read(
    running_worker, redis_url, tmp_path
):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FOREIGN, redis_url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    shown = "InvalidRequestError: There are no labels; give at least one. [NO_LABELS]"
    assert done.stdout.splitlines() == [f"celery.exceptions.{shown}"] * 3


def test_inspection_shows_the_queues_and_what_is_in_flight(redis_url, tmp_path, plain, image):
    with WorkerProcess(redis_url, tmp_path):
        held = plain.send_task("clip.classify", (image,), LABELS, countdown=600)
        inspect = plain.control.inspect(timeout=REPLY_S, limit=1)
        wait_until(lambda: held.id in str(inspect.scheduled()))

        [scheduled_here] = inspect.scheduled().values()
        assert len(scheduled_here) == 1
        assert inspect.reserved() == inspect.active()  # nothing: a task that waits is neither
        [queues] = inspect.active_queues().values()
        assert [queue["name"] for queue in queues] == [DEFAULT_QUEUE]

        # and queues can be added and taken away while the worker runs
        plain.control.add_consumer("more")
        assert end_of(plain.send_task("clip.classify", (image,), LABELS, queue="more"))
        [queues] = inspect.active_queues().values()
        assert [queue["name"] for queue in queues] == [DEFAULT_QUEUE, "more"]
        plain.control.cancel_consumer("more")
        wait_until(lambda: "more" not in str(inspect.active_queues()))

        plain.control.revoke(held.id)
        assert isinstance(end_of(held), TaskRevokedError)


@pytest.mark.slow
def test_a_worker_takes_turns_between_the_queues_of_its_command_line_and_names_them(
    redis_url, tmp_path, plain, broker, image
):
    many, few = 400, 20
    images = different_images(tmp_path, many + few)
    other = plain.send_task("clip.classify", (image,), LABELS)
    with Client(redis_url, queue="long") as long, Client(redis_url, queue="short") as short:
        of_long = long.submit_many(images[:many], **LABELS)
        of_short = short.submit_many(images[many:], **LABELS)

        with WorkerProcess(redis_url, tmp_path, "-Q", "long,short") as worker:
            for handle in (*of_short, *of_long):
                handle.get(LIMIT_S)
            inspect = plain.control.inspect(timeout=REPLY_S, limit=1)
            wait_until(lambda: "total" in str(inspect.stats()))
            [queues], [stats] = inspect.active_queues().values(), inspect.stats().values()

    def done_at(handle) -> str:
        return str(json.loads(broker.get(RESULT_PREFIX + handle.id))["date_done"])

    last = max(map(done_at, of_short))
    assert sum(done_at(handle) < last for handle in of_long) < many / 2
    assert "queues 'long', 'short' at redis://" in worker.log
    assert [queue["name"] for queue in queues] == ["long", "short"]
    assert stats["total"] == {"clip.classify": many + few}
    assert (broker.llen(DEFAULT_QUEUE), other.state) == (1, "PENDING")


@pytest.mark.slow
def test_tasks_with_a_higher_priority_number_wait_behind_others(
    tmp_path, redis_url, plain, broker, image
):
    later = plain.send_task("clip.classify", (image,), LABELS, priority=9)
    sooner = plain.send_task("clip.classify", (image,), LABELS, priority=0)
    with WorkerProcess(redis_url, tmp_path, concurrency="1") as worker:  # one at a time
        assert end_of(later)["predictions"]
        assert end_of(sooner)["predictions"]
        assert worker.log.index(f"[{sooner.id}] succ") < worker.log.index(f"[{later.id}] succ")
    assert broker.llen(KEYS.lists[3]) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_a_chord_with_a_member_that_kills_workers_ends_with_that_error(
    tmp_path, redis_url, plain, broker, image
):
    # given: one member has killed four workers, each time alone
    member = plain.signature("clip.classify", args=(image,), kwargs=LABELS)
    body = member.clone(immutable=True)
    result = chord([member, member.clone()], body, app=plain).apply_async()
    accuse(broker, KEYS, 4)

    with WorkerProcess(redis_url, tmp_path):
        error = end_of(result)

    assert isinstance(error, ChordError)
    assert "[POISON]" in str(error)
    assert broker.hlen(dead_key(DEFAULT_QUEUE)) == 1
