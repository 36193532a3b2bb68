"""Messages about many pictures, on a worker for which they are much."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faulty_app
import pytest
import redis
from support.faulty_worker import faulty
from support.image_zoo import photo
from support.queue_state import unacked
from support.scripted_server import response, scripted_server
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from worker.contract import MAX_IMAGES
from worker.contract.keys import QueueKeys
from worker.settings import DEFAULT_QUEUE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from celery import Celery
    from celery.result import AsyncResult

    from worker.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 180.0
KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red", "green"]
TIMEOUT_S = 4  # MAX_IMAGES slow pictures take twice as long at least
AS_CELERY_TASK = {"countdown": 0.5}  # an ETA: the message goes the standard way

assert MAX_IMAGES * faulty_app.SLOW_S > 2 * TIMEOUT_S


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    photo((120, 90), seed=1).save(path := tmp_path / "picture.jpg")
    return path


class Site:
    """A picture that doesn't come before it is let go."""

    def __init__(self, url: Callable[[], str]) -> None:
        self.url = url
        self.go = threading.Event()


@pytest.fixture
def site(picture: Path) -> Iterator[Site]:
    def script(_head: str, connection: socket.socket) -> None:
        site.go.wait(LIMIT_S)
        connection.sendall(response(picture.read_bytes()))

    with ExitStack() as stack:
        site = Site(stack.enter_context(scripted_server(script)).url)
        stack.callback(site.go.set)
        yield site


def ask(app: Celery, images: list[str], **options: Any) -> AsyncResult[Any]:
    asked = {"images": images, "labels": LABELS}
    return app.send_task("clip.classify_many", kwargs=asked, queue=DEFAULT_QUEUE, **options)


@pytest.mark.parametrize("way", [{}, AS_CELERY_TASK])
def test_a_large_message_is_not_failed_while_the_worker_gets_on_with_it(
    tmp_path: Path, redis_url: str, plain: Celery, picture: Path, way: dict[str, float]
) -> None:
    picture.write_bytes(faulty_app.picture(faulty_app.IS_SLOW))
    options = {"task_timeout_s": str(TIMEOUT_S), "replicas": "1", "max_batch": "8"}
    with faulty(redis_url, tmp_path, **options):
        outcomes = ask(plain, [picture.as_uri()] * MAX_IMAGES, **way).get(LIMIT_S)

    failed = [outcome["error"] for outcome in outcomes if outcome["status"] != "ok"]
    assert (len(outcomes), failed) == (MAX_IMAGES, [])


@pytest.mark.parametrize("way", [{}, AS_CELERY_TASK])
def test_of_a_message_that_stalls_what_is_done_is_given(  # noqa: PLR0917  # pytest's
    tmp_path: Path, client: Client, plain: Celery, picture: Path, site: Site, way: dict[str, float]
) -> None:
    options = {"task_timeout_s": "2", "fetch_timeout_s": "600", "allow_private": "true"}
    with WorkerProcess(client.url, tmp_path, **options):
        images = [picture.as_uri(), site.url(), picture.as_uri(), site.url(), "file:///no/such"]

        outcomes = ask(plain, images, **way).get(LIMIT_S)

    assert [outcome["status"] for outcome in outcomes] == ["ok", "error", "ok", "error", "error"]
    codes = [outcome["error"]["code"] for outcome in outcomes if outcome["status"] == "error"]
    assert codes[:2] == ["TASK_TIMEOUT"] * 2
    assert codes[2] != "TASK_TIMEOUT"


def test_a_large_message_takes_the_room_of_its_pictures_and_the_others_stay_for_other_workers(
    tmp_path: Path, client: Client, plain: Celery, server: redis.Redis, site: Site
) -> None:
    # given: a queue of messages each of which is more than a worker has in hand at first
    messages = [ask(plain, [site.url()] * 32) for _ in range(4)]
    with WorkerProcess(client.url, tmp_path, allow_private="true", fetch_timeout_s="600"):
        wait_until(lambda: unacked(server, KEYS) == 1)
        # then one is in hand, whatever was taken with it, and the others wait in their order
        wait_until(lambda: server.llen(DEFAULT_QUEUE) == 3)
        queued = [json.loads(m)["headers"]["id"] for m in server.lrange(DEFAULT_QUEUE, 0, -1)]
        assert queued[::-1] == [message.id for message in messages[1:]]
        assert unacked(server, KEYS) == 1

        site.go.set()
        assert all(len(message.get(LIMIT_S)) == 32 for message in messages)
    assert unacked(server, KEYS) == server.llen(DEFAULT_QUEUE) == 0
