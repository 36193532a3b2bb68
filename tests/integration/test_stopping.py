"""How a worker ends, by order and by fault: what it had in hand is not lost and comes back soon."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import faulty_app
import pytest
import redis
from support.faulty_worker import faulty
from support.image_zoo import photo
from support.queue_state import unacked
from support.scripted_server import response, scripted_server
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from worker.contract.keys import QueueKeys, dead_key
from worker.runtime.watchdog import DEVICE_LOST, HUNG
from worker.settings import DEFAULT_QUEUE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from celery import Celery

    from worker.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 60.0
REPLY_S = 5.0  # what is asked before the worker listens is never answered
KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red", "green"]


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def slow_pictures() -> Iterator[Callable[[], str]]:
    """URIs of pictures that don't come until the test is over."""
    over = threading.Event()

    def script(_head: str, connection: socket.socket) -> None:
        over.wait(LIMIT_S)
        connection.sendall(response(b"late"))

    with ExitStack() as stack:
        site = stack.enter_context(scripted_server(script))
        stack.callback(over.set)
        yield site.url


def _picture(folder: Path, mark: int | None = None) -> str:
    path = folder / f"{mark or 'plain'}.jpg"
    if mark is None:
        photo((120, 90), seed=1).save(path)
    else:
        path.write_bytes(faulty_app.picture(mark))
    return path.as_uri()


def test_a_stopping_worker_gives_back_what_it_cannot_finish_and_ends_without_waiting_for_it(
    tmp_path: Path,
    plain: Celery,
    client: Client,
    server: redis.Redis,
    slow_pictures: Callable[[], str],
) -> None:
    # given: pictures that hang in their fetch, for longer than the worker may take to stop
    with WorkerProcess(
        client.url, tmp_path, allow_private="true", drain_timeout_s="1", fetch_timeout_s="50"
    ) as worker:
        hanging = [client.classify(slow_pictures(), LABELS) for _ in range(3)]
        wait_until(lambda: unacked(server, KEYS) == 3)
        inspect = plain.control.inspect(timeout=REPLY_S, limit=1)
        wait_until(lambda: all(handle.id in str(inspect.reserved()) for handle in hanging))
        [(_, told)] = inspect.query_task(hanging[0].id).items()
        assert told[hanging[0].id][0] == "reserved"

        status = worker.stop()

    assert status == 0
    assert server.llen(DEFAULT_QUEUE) == 3
    assert unacked(server, KEYS) == server.zcard(KEYS.leases) == server.llen(KEYS.suspects) == 0
    assert [handle.state for handle in hanging] == ["PENDING"] * 3
    assert "Requeued 3 tasks" in worker.log


def test_a_second_interrupt_ends_the_worker_at_once_and_gives_all_back(
    tmp_path: Path,
    redis_url: str,
    client: Client,
    server: redis.Redis,
    slow_pictures: Callable[[], str],
) -> None:
    with WorkerProcess(
        redis_url, tmp_path, allow_private="true", drain_timeout_s="600", fetch_timeout_s="600"
    ) as worker:
        client.classify(slow_pictures(), LABELS)
        wait_until(lambda: unacked(server, KEYS) == 1)
        worker.running.send_signal(signal.SIGINT)
        worker.wait_for_log("Warm shutdown")

        worker.running.send_signal(signal.SIGINT)

        worker.wait_for_end(20)
    assert server.llen(DEFAULT_QUEUE) == 1
    assert unacked(server, KEYS) == 0


@pytest.mark.parametrize(
    ("mark", "status"),
    [
        (faulty_app.HANGS, HUNG),
        (faulty_app.LOSES_DEVICE, DEVICE_LOST),
    ],
)
def test_a_worker_that_hangs_or_loses_its_device_ends_itself_and_its_tasks_return(
    tmp_path: Path, client: Client, server: redis.Redis, mark: int, status: int
) -> None:
    # given
    redis_url = client.url
    patience_s = "1" if mark == faulty_app.HANGS else "60"
    with faulty(redis_url, tmp_path, hang_timeout_s=patience_s) as worker:
        bad = client.classify(_picture(tmp_path, mark), LABELS)

        # when it is at it, then the process ends with a status of its own
        assert worker.wait_for_end() == status
        assert "ends itself" in worker.log
    # and the message is where another worker takes it, with its history
    [entry] = server.lrange(KEYS.suspects, 0, -1)
    assert entry.split(b"\n")[2].split()[2].startswith(b"faulty@")
    with WorkerProcess(redis_url, tmp_path, name="next"):
        assert bad.get(LIMIT_S).predictions
    assert server.keys("clip-worker:*:unacked:*") == server.keys("clip-worker:*:started:*") == []


def test_a_message_that_ends_each_worker_is_given_up_and_its_neighbours_are_answered(
    tmp_path: Path, redis_url: str, client: Client, server: redis.Redis
) -> None:
    # given: one bad message among good ones, and whoever dies is replaced
    good, bad = _picture(tmp_path), _picture(tmp_path, faulty_app.LOSES_DEVICE)
    handles = [client.classify(bad if i == 20 else good, LABELS) for i in range(40)]
    ends = 0
    worker = faulty(redis_url, tmp_path, max_deliveries="3")
    with worker:
        end = time.monotonic() + 5 * LIMIT_S  # three starts of a worker, on a busy machine
        while server.hlen(dead_key(DEFAULT_QUEUE)) == 0:
            assert time.monotonic() < end, worker.log
            if worker.running.poll() is not None:
                ends += 1
                worker.start()
            time.sleep(0.05)
        answers = [h.get(LIMIT_S) for i, h in enumerate(handles) if i != 20]

    assert len(answers) == 39
    assert ends == 3
    assert handles[20].state == "FAILURE"
    [letter] = server.hkeys(dead_key(DEFAULT_QUEUE))
    assert letter.decode() == handles[20].id
