"""`clip-worker watch` while it is killed: everything that arrives has one row."""

from __future__ import annotations

import io
import json
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest
from PIL import Image
from support.moto_server import BUCKET, QUEUE, moto_server
from support.ports import free_port
from support.waiting import wait_until
from support.watch_process import WatchProcess
from support.worker_process import READY, WorkerProcess

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys
from clip_worker.redis.url import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

IMAGES = 2_000
NOTIFIED = 200
SECRET = "shared"
WRITERS = 4
KILLS = 2
LIMIT_S = 840.0


def picture(number: int) -> bytes:
    """A small PNG file, another one for each number."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256, 64)).save(file, "PNG")
    return file.getvalue()


def write_at_once(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def write_slowly(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        for start in range(0, len(data), 16):
            file.write(data[start : start + 16])
            file.flush()
            threading.Event().wait(0.002)


def rename_into_place(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.rename(path)


def rename_from_hidden(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}")
    write_slowly(part, data)
    part.rename(path)


WAYS = (write_at_once, write_slowly, rename_into_place, rename_from_hidden)


def kill_twice(
    watch: WatchProcess,
    write: Callable[[int], object],
    images: int = IMAGES,
    is_over: Callable[[], object] = lambda: True,
) -> None:
    """Let writers write while the process is killed and started again, until all have rows."""
    watch.start()
    with ThreadPoolExecutor(WRITERS) as writers:
        written = [writers.submit(write, number) for number in range(images)]
        for kill in range(1, KILLS + 1):
            watch.wait_for(kill * images // 4, LIMIT_S)
            watch.kill()
            watch.start()
        for each in written:
            each.result()
    wait_until(
        lambda: watch.count() >= images and len(watch.images()) == images and is_over(),
        lambda: f"{len(watch.images())} images\n{watch.log}",
        limit_s=LIMIT_S,
    )
    assert watch.stop() == 0
    assert not watch.failures.exists(), watch.failures.read_text()[:2000]


def test_each_file_is_tagged_once_although_the_process_is_killed(
    server: RedisServer, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    names = [f"{number % 7}/{number}.png" for number in range(IMAGES)]
    for number in range(7):
        (inbox / str(number)).mkdir(parents=True)

    def write(number: int) -> None:
        WAYS[number % len(WAYS)](inbox / names[number], picture(number))

    with WorkerProcess(server.url, tmp_path) as worker:
        worker.wait_for_log(READY)
        watch = WatchProcess(server.url, str(inbox), tmp_path)
        try:
            kill_twice(watch, write)
        finally:
            watch.kill()

    assert watch.images() == dict.fromkeys((str(inbox / name) for name in names), 1)


def test_images_that_redis_loses_while_they_wait_are_sent_again(
    server: RedisServer, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    paths = [inbox / f"{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_bytes(picture(number))
    with WatchProcess(server.url, str(inbox), tmp_path) as watch, connect(server.url) as redis:
        wait_until(
            lambda: redis.llen(QueueKeys(DEFAULT_QUEUE).lists[0]) == len(paths), lambda: watch.log
        )
        redis.flushall()
        with WorkerProcess(server.url, tmp_path):
            watch.wait_for(len(paths))
            assert watch.stop() == 0

        assert watch.images() == dict.fromkeys(map(str, paths), 1)
        assert "Redis has lost 20 tasks in flight; they are sent again." in watch.log


@pytest.mark.parametrize(
    ("place", "images"), [(f"s3://{BUCKET}/in/", IMAGES), (f"sqs://{QUEUE}", IMAGES // 4)]
)
def test_each_object_is_tagged_once_although_the_process_is_killed(
    server: RedisServer, tmp_path: Path, place: str, images: int
) -> None:
    keys = [f"in/{number % 7}/my cat+{number}.png" for number in range(images)]
    with moto_server() as moto:
        moto.notify_queue()
        environment = moto.environment
        with WorkerProcess(server.url, tmp_path, environment=environment) as worker:
            worker.wait_for_log(READY)
            watch = WatchProcess(
                server.url, place, tmp_path, "--poll", "1", environment=environment
            )
            try:
                kill_twice(
                    watch,
                    lambda number: moto.put(keys[number], picture(number)),
                    images,
                    is_over=lambda: place.startswith("s3") or moto.messages() == 0,
                )
            finally:
                watch.kill()

    assert watch.images() == dict.fromkeys((f"s3://{BUCKET}/{key}" for key in keys), 1)


def post(url: str, body: str) -> None:
    """Post a notification until it is accepted, as MinIO does with a queue_dir."""

    def is_accepted() -> bool:
        request = urllib.request.Request(url, body.encode(), {"Authorization": f"Bearer {SECRET}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return bool(answer.status == HTTPStatus.NO_CONTENT)
        except OSError:  # it is down
            return False

    wait_until(is_accepted, limit_s=LIMIT_S)


@pytest.mark.parametrize("way", ["redis", "webhook"])
def test_each_notification_leads_to_one_row_although_the_process_is_killed(
    server: RedisServer, tmp_path: Path, way: str
) -> None:
    port = free_port()
    place = f"{server.url}?list=events" if way == "redis" else f"webhook://127.0.0.1:{port}/minio"
    keys = [f"my cat+{number}.png" for number in range(NOTIFIED)]
    broker = server.client()

    def write(number: int) -> None:
        moto.put(keys[number], picture(number))
        bucket, key = {"name": BUCKET}, quote_plus(keys[number])
        s3 = {"bucket": bucket, "object": {"key": key, "eTag": str(number)}}
        record = {"eventName": "s3:ObjectCreated:Put", "s3": s3}
        for _ in range(2):  # duplicates are common
            if way == "redis":
                broker.rpush("events", json.dumps([{"Event": [record]}]))
            else:
                post(f"http://127.0.0.1:{port}/minio", json.dumps({"Records": [record]}))

    with moto_server() as moto:
        environment = moto.environment | {"CLIP_WORKER_WATCH_SECRET": SECRET}
        with WorkerProcess(server.url, tmp_path, environment=moto.environment) as worker:
            worker.wait_for_log(READY)
            watch = WatchProcess(server.url, place, tmp_path, environment=environment)
            try:
                kill_twice(watch, write, NOTIFIED, lambda: not broker.keys("events*"))
            finally:
                watch.kill()

    assert watch.images() == dict.fromkeys((f"s3://{BUCKET}/{key}" for key in keys), 1)
