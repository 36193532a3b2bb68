"""Each signal that stops a worker, with something of each kind in hand; docs/reliability.md."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from lone_app import BEGUN, GO
from support.image_zoo import photo
from support.queue_state import unacked
from support.scripted_server import response, scripted_server
from support.waiting import wait_until
from support.worker_process import READY, WorkerProcess

from worker.contract.keys import QueueKeys
from worker.settings import Settings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from celery import Celery

    from worker.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 60.0
PICTURES_S = 8.0  # that a stopping worker gives its pictures, unless it is told otherwise
QUEUE = Settings.model_fields["queue"].default
KEYS = QueueKeys(QUEUE)
LABELS = ["red", "green"]


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


class Site:
    """A picture that doesn't come before it is let go."""

    def __init__(self, url: Callable[[], str]) -> None:
        self.url = url
        self.go = threading.Event()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    photo((120, 90), seed=1).save(path := tmp_path / "picture.jpg")
    data = path.read_bytes()

    def script(_head: str, connection: socket.socket) -> None:
        site.go.wait(LIMIT_S)
        connection.sendall(response(data))

    with ExitStack() as stack:
        site = Site(stack.enter_context(scripted_server(script)).url)
        stack.callback(site.go.set)
        yield site


def worker(redis_url: str, folder: Path, *options: str, **settings: Any) -> WorkerProcess:
    """A worker with the tasks of `lone_app`; further options are Celery's."""
    path = Path(__file__).parent
    name = settings.pop("name", "first")
    before = settings.pop("before", ())
    command = (
        *before,
        *("env", f"PYTHONPATH={path}:{os.environ.get('PYTHONPATH', '')}", sys.executable),
        *("-m", "celery", "-A", "lone_app", "worker", "-n", f"{name}@%h", "--loglevel", "info"),
        *options,
    )
    return WorkerProcess(
        redis_url, folder, name=name, command=command, allow_private="true", **settings
    )


class Producer:
    """Sends the tasks of `lone_app`, and sees what becomes of them."""

    def __init__(self, app: Celery, server: redis.Redis, folder: Path) -> None:
        self._app = app
        self.server = server
        self._lock = str(folder / "lock")

    def send(self, task: str = "user.alone", *arguments: str, **options: Any) -> str:
        given = (self._lock,) if task == "user.alone" else arguments
        return str(self._app.send_task(task, given, queue=QUEUE, **options).id)

    def begun(self) -> list[int]:
        """The processes that have begun `user.alone`, in turn."""
        return [int(pid) for pid in self.server.lrange(BEGUN, 0, -1)]

    def result(self, task_id: str) -> Any:
        stored: list[Any] = []
        wait_until(lambda: bool(stored.append(self._stored(task_id)) or stored[-1]))
        assert stored[-1]["status"] == "SUCCESS", stored[-1]
        return stored[-1]["result"]

    def _stored(self, task_id: str) -> Any:
        return json.loads(self.server.get(f"celery-task-meta-{task_id}") or "null")

    def queued(self) -> list[str]:
        """Ids of the messages in the queue, the next one first."""
        return [json.loads(m)["headers"]["id"] for m in self.server.lrange(QUEUE, 0, -1)][::-1]

    def in_hand(self) -> int:
        return unacked(self.server, KEYS)


@pytest.fixture
def producer(plain: Celery, server: redis.Redis, tmp_path: Path) -> Producer:
    return Producer(plain, server, tmp_path)


def test_a_task_that_a_thread_runs_is_waited_for_and_is_not_begun_twice(
    tmp_path: Path, redis_url: str, producer: Producer
) -> None:
    with worker(redis_url, tmp_path) as first:
        task = producer.send()
        wait_until(lambda: len(producer.begun()) == 1)
        with worker(redis_url, tmp_path, name="second"):
            first.running.send_signal(signal.SIGTERM)

            time.sleep(PICTURES_S + 2)  # nothing tells that nothing happens
            assert producer.begun() == [first.running.pid]
            assert first.running.poll() is None
            producer.server.set(GO, 1)

            assert first.wait_for_end() == 0
    assert producer.result(task) == first.running.pid
    assert len(producer.begun()) == 1
    assert "waits for a running task (user.alone[" in first.log
    assert producer.in_hand() == len(producer.queued()) == 0


def test_what_waits_for_a_time_a_rate_or_a_thread_goes_back_at_once_in_its_order(
    tmp_path: Path, redis_url: str, producer: Producer
) -> None:
    # given: one thread, which is taken, and whatever a task may wait for
    with worker(redis_url, tmp_path, "-c", "1", drain_timeout_s="600") as first:
        producer.result(producer.send("user.limited"))
        running = producer.send()
        wait_until(lambda: len(producer.begun()) == 1)
        waiting = [
            producer.send("user.limited"),
            producer.send(countdown=500),
            producer.send(),
        ]
        wait_until(lambda: first.log.count("received") == 5)

        first.running.send_signal(signal.SIGTERM)

        wait_until(lambda: producer.queued() == waiting)
        assert first.running.poll() is None
        producer.server.set(GO, 1)
        assert first.wait_for_end() == 0
    assert producer.result(running) == first.running.pid
    assert producer.queued() == waiting
    assert producer.in_hand() == 0


def test_a_time_limit_ends_the_process_before_what_it_runs_is_begun_elsewhere(
    tmp_path: Path, redis_url: str, producer: Producer
) -> None:
    with worker(redis_url, tmp_path, drain_timeout_s="1") as first:
        task = producer.send()
        wait_until(lambda: len(producer.begun()) == 1)
        with worker(redis_url, tmp_path, name="second") as second:
            assert first.stop() == 0

            wait_until(lambda: len(producer.begun()) == 2)
            producer.server.set(GO, 1)
            assert producer.result(task) == second.running.pid


@pytest.mark.parametrize(
    ("signals", "pool"),
    [
        ((signal.SIGTERM, signal.SIGTERM), "threads"),
        ((signal.SIGTERM, signal.SIGTERM), "solo"),
        ((signal.SIGTERM, signal.SIGINT), "threads"),
        ((signal.SIGQUIT,), "threads"),
    ],
)
def test_the_second_signal_gives_all_back_and_ends_the_worker_at_once(  # noqa: PLR0917  # pytest's
    tmp_path: Path,
    client: Client,
    producer: Producer,
    site: Site,
    signals: tuple[signal.Signals, ...],
    pool: str,
) -> None:
    # given: a picture that doesn't come, and a task that a thread runs
    options = {"fetch_timeout_s": "600", "drain_timeout_s": "600"}
    with worker(client.url, tmp_path, "-P", pool, **options) as first:
        picture = client.classify(site.url(), LABELS)
        task = producer.send()
        wait_until(lambda: len(producer.begun()) == 1 and producer.in_hand() == 2)
        for number in signals[:-1]:
            first.running.send_signal(number)
            first.wait_for_log("Warm shutdown")

        first.running.send_signal(signals[-1])

        assert first.wait_for_end(20) == 1

    # then the picture is there at once, and the task for whoever looks
    assert producer.queued() == [picture.id]
    producer.server.set(GO, 1)
    site.go.set()
    with worker(client.url, tmp_path, name="second") as second:
        assert picture.get(LIMIT_S).predictions
        assert producer.result(task) == second.running.pid


def test_a_hangup_restarts_the_worker_in_its_process_and_nothing_is_lost_or_run_twice(
    tmp_path: Path, client: Client, producer: Producer, site: Site
) -> None:
    with worker(client.url, tmp_path, drain_timeout_s="60") as first:
        later = producer.send(countdown=500)
        picture = client.classify(site.url(), LABELS)
        task = producer.send()
        wait_until(lambda: len(producer.begun()) == 1 and producer.in_hand() == 3)

        first.running.send_signal(signal.SIGHUP)

        wait_until(lambda: producer.queued() == [later])
        producer.server.set(GO, 1)
        site.go.set()
        wait_until(lambda: first.log.count(READY) == 2)
        assert picture.get(LIMIT_S).predictions
        assert client.classify(site.url(), LABELS).get(LIMIT_S).predictions
        assert producer.result(task) == first.running.pid
        assert len(producer.begun()) == 1
        assert first.stop() == 0
    assert producer.queued() == [later]
    assert producer.in_hand() == 0


def test_a_stop_after_a_hangup_ends_the_worker(
    tmp_path: Path, redis_url: str, producer: Producer
) -> None:
    with worker(redis_url, tmp_path) as first:
        later = producer.send(countdown=500)
        producer.send()
        wait_until(lambda: len(producer.begun()) == 1 and producer.in_hand() == 2)
        first.running.send_signal(signal.SIGHUP)
        wait_until(lambda: producer.queued() == [later])

        first.running.send_signal(signal.SIGTERM)
        first.wait_for_log("Warm shutdown")
        producer.server.set(GO, 1)

        assert first.wait_for_end() == 0
    assert first.log.count(READY) == 1


def test_the_end_of_its_terminal_stops_a_worker_in_order(
    tmp_path: Path, client: Client, producer: Producer, site: Site
) -> None:
    keyboard, terminal = pty.openpty()
    with worker(client.url, tmp_path, stdout=terminal) as first:
        os.close(terminal)
        later = producer.send(countdown=500)
        picture = client.classify(site.url(), LABELS)
        wait_until(lambda: producer.in_hand() == 2)

        os.close(keyboard)  # what it prints from now on is an error
        first.running.send_signal(signal.SIGHUP)

        wait_until(lambda: producer.queued() == [later])
        site.go.set()
        assert first.wait_for_end() == 128 + signal.SIGHUP
    assert picture.get(LIMIT_S).predictions
    assert producer.queued() == [later]
    assert producer.in_hand() == 0


def test_nohup_holds(tmp_path: Path, client: Client, site: Site) -> None:
    site.go.set()
    with worker(client.url, tmp_path, before=("nohup",)) as first:
        assert client.classify(site.url(), LABELS).get(LIMIT_S).predictions
        first.running.send_signal(signal.SIGHUP)

        # or its program would run anew now
        assert first.stop() == 0
    assert first.log.count(READY) == 1
