"""Each signal that stops a worker which holds tasks of each kind; docs/reliability.md."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from own_app import BEGUN, GO
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import READY, WorkerProcess

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 60.0
PICTURES_S = 8.0  # that a stopping worker gives its images by default
KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red", "green"]
TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


def worker(redis_url: str, folder: Path, *options: str, **more: Any) -> WorkerProcess:
    named: dict[str, Any] = {"name": "first", "app": "own_app", "allow_private": "true"}
    return WorkerProcess(redis_url, folder, *options, **(named | more))


class Producer:
    """Sends the tasks of `own_app`, and sees what becomes of them."""

    def __init__(self, app: Celery, broker: redis.Redis, folder: Path) -> None:
        self._app = app
        self._broker = broker
        self._lock = str(folder / "lock")

    def send(self, task: str = "own.waits", **options: Any) -> str:
        arguments = (self._lock,) if task == "own.waits" else ()
        return str(self._app.send_task(task, arguments, queue=DEFAULT_QUEUE, **options).id)

    def begun(self) -> list[int]:
        """The processes that have begun `own.waits`, in turn."""
        return [int(pid) for pid in self._broker.lrange(BEGUN, 0, -1)]

    def let_go_on(self) -> None:
        self._broker.set(GO, 1)

    def result(self, task_id: str) -> Any:
        key = f"celery-task-meta-{task_id}"
        wait_until(lambda: self._broker.exists(key))
        stored = json.loads(self._broker.get(key) or "")
        assert stored["status"] == "SUCCESS", stored
        return stored["result"]

    def queued(self) -> list[str]:
        """Ids of the messages in the queue, the next one first."""
        messages = self._broker.lrange(DEFAULT_QUEUE, 0, -1)
        return [json.loads(message)["headers"]["id"] for message in messages][::-1]

    def unacked(self) -> int:
        return unacked(self._broker, KEYS)


@pytest.fixture
def producer(plain, broker, tmp_path):
    return Producer(plain, broker, tmp_path)


def test_a_task_that_a_thread_runs_is_waited_for_and_is_not_begun_twice(
    tmp_path, redis_url, producer
):
    with worker(redis_url, tmp_path) as first:
        task = producer.send()
        wait_until(lambda: len(producer.begun()) == 1)
        with worker(redis_url, tmp_path, name="second"):
            first.send_signal(TERM)

            time.sleep(PICTURES_S + 2)  # no event says that nothing happens
            assert producer.begun() == [first.pid]
            assert first.running.poll() is None
            producer.let_go_on()

            assert first.wait_for_end() == 0
    assert producer.result(task) == first.pid
    assert len(producer.begun()) == 1
    assert "waits for a running task (own.waits[" in first.log
    assert producer.unacked() == len(producer.queued()) == 0


def test_what_waits_for_a_time_a_rate_or_a_thread_is_requeued_at_once_in_its_order(
    tmp_path, redis_url, producer
):
    # given: one thread, which is taken, and whatever a task may wait for
    with worker(redis_url, tmp_path, "-c", "1", drain_timeout_s="600") as first:
        producer.result(producer.send("own.limited"))
        running = producer.send()
        wait_until(lambda: len(producer.begun()) == 1)
        waiting = [producer.send("own.limited"), producer.send(countdown=500), producer.send()]
        wait_until(lambda: first.log.count("received") == 5)

        first.send_signal(TERM)

        wait_until(lambda: producer.queued() == waiting)
        assert first.running.poll() is None
        producer.let_go_on()
        assert first.wait_for_end() == 0
    assert producer.result(running) == first.pid
    assert producer.queued() == waiting
    assert producer.unacked() == 0


def test_a_time_limit_ends_the_process_before_what_it_runs_is_begun_elsewhere(
    tmp_path, redis_url, producer
):
    with worker(redis_url, tmp_path, drain_timeout_s="1") as first:
        task = producer.send()
        wait_until(lambda: len(producer.begun()) == 1)
        with worker(redis_url, tmp_path, name="second") as second:
            assert first.stop() == 0

            wait_until(lambda: len(producer.begun()) == 2)
            producer.let_go_on()
            assert producer.result(task) == second.pid


@pytest.mark.parametrize(
    ("signals", "pool"),
    [
        ((TERM, TERM), "threads"),
        ((TERM, TERM), "solo"),
        ((TERM, INT), "threads"),
        ((INT, INT), "threads"),
        ((QUIT,), "threads"),
    ],
)
def test_the_second_signal_requeues_everything_and_ends_the_worker_at_once(
    tmp_path, client, producer, site, signals, pool
):
    # given: an image that doesn't come, and a task that a thread runs
    options = {"fetch_timeout_s": "600", "drain_timeout_s": "600"}
    with worker(client.url, tmp_path, "-P", pool, **options) as first:
        picture = client.classify(site.url(), LABELS)
        task = producer.send()
        wait_until(lambda: len(producer.begun()) == 1 and producer.unacked() == 2)
        for number in signals[:-1]:
            first.send_signal(number)
            first.wait_for_log("Warm shutdown")

        first.send_signal(signals[-1])

        assert first.wait_for_end(20) == 1

    # then the image is queued at once, and the task is found by whoever looks
    assert producer.queued() == [picture.id]
    producer.let_go_on()
    site.go.set()
    with worker(client.url, tmp_path, name="second") as second:
        assert picture.get(LIMIT_S).predictions
        assert producer.result(task) == second.pid


def test_a_hangup_restarts_the_worker_in_its_process_and_nothing_is_lost_or_run_twice(
    tmp_path, client, producer, site
):
    with worker(client.url, tmp_path, drain_timeout_s="60") as first:
        later = producer.send(countdown=500)
        picture = client.classify(site.url(), LABELS)
        task = producer.send()
        wait_until(lambda: len(producer.begun()) == 1 and producer.unacked() == 3)

        first.send_signal(signal.SIGHUP)

        wait_until(lambda: producer.queued() == [later])
        producer.let_go_on()
        site.go.set()
        wait_until(lambda: first.log.count(READY) == 2)
        assert picture.get(LIMIT_S).predictions
        assert client.classify(site.url(), LABELS).get(LIMIT_S).predictions
        assert producer.result(task) == first.pid
        assert len(producer.begun()) == 1
        assert first.stop() == 0
    assert producer.queued() == [later]
    assert producer.unacked() == 0


def test_a_stop_after_a_hangup_ends_the_worker(tmp_path, redis_url, producer):
    with worker(redis_url, tmp_path) as first:
        later = producer.send(countdown=500)
        producer.send()
        wait_until(lambda: len(producer.begun()) == 1 and producer.unacked() == 2)
        first.send_signal(signal.SIGHUP)
        wait_until(lambda: producer.queued() == [later])

        first.send_signal(TERM)
        first.wait_for_log("Warm shutdown")
        producer.let_go_on()

        assert first.wait_for_end() == 0
    assert first.log.count(READY) == 1


def test_the_end_of_its_terminal_stops_a_worker_in_order(tmp_path, client, producer, site):
    keyboard, terminal = pty.openpty()
    with worker(client.url, tmp_path, stdout=terminal) as first:
        os.close(terminal)
        later = producer.send(countdown=500)
        picture = client.classify(site.url(), LABELS)
        wait_until(lambda: producer.unacked() == 2)

        os.close(keyboard)  # what it prints from now on is an error
        first.send_signal(signal.SIGHUP)

        wait_until(lambda: producer.queued() == [later])
        site.go.set()
        assert first.wait_for_end() == 128 + signal.SIGHUP
    assert picture.get(LIMIT_S).predictions
    assert producer.queued() == [later]
    assert producer.unacked() == 0


def test_nohup_holds(tmp_path, client, image):
    celery = (sys.executable, "-m", "celery", "-A", "worker", "worker", "--loglevel", "info")
    with WorkerProcess(client.url, tmp_path, command=("nohup", *celery)) as first:
        assert client.classify(image, LABELS).get(LIMIT_S).predictions
        first.send_signal(signal.SIGHUP)

        # or its program would run anew now
        assert first.stop() == 0
    assert first.log.count(READY) == 1
