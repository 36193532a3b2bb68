"""`clip-worker watch` while it is killed: everything that arrives has one row."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.moto_server import BUCKET, QUEUE, moto_server
from support.waiting import wait_until
from support.watch_process import WatchProcess
from support.worker_process import READY, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

IMAGES = 2_000
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


def kill_twice(watch: WatchProcess, write: Callable[[int], object]) -> None:
    """Let writers write while the process is killed and started again, until all have rows."""
    watch.start()
    with ThreadPoolExecutor(WRITERS) as writers:
        written = [writers.submit(write, number) for number in range(IMAGES)]
        for kill in range(1, KILLS + 1):
            watch.wait_for(kill * IMAGES // 4, LIMIT_S)
            watch.kill()
            watch.start()
        for each in written:
            each.result()
    wait_until(
        lambda: watch.count() >= IMAGES and len(watch.images()) == IMAGES,
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


@pytest.mark.parametrize("place", [f"s3://{BUCKET}/in/", f"sqs://{QUEUE}"])
def test_each_object_is_tagged_once_although_the_process_is_killed(
    server: RedisServer, tmp_path: Path, place: str
) -> None:
    keys = [f"in/{number % 7}/my cat+{number}.png" for number in range(IMAGES)]
    with moto_server() as moto:
        moto.notify_queue()
        environment = moto.environment
        with WorkerProcess(server.url, tmp_path, environment=environment) as worker:
            worker.wait_for_log(READY)
            watch = WatchProcess(
                server.url, place, tmp_path, "--poll", "1", environment=environment
            )
            try:
                kill_twice(watch, lambda number: moto.put(keys[number], picture(number)))
            finally:
                watch.kill()
        left = moto.messages()

    assert watch.images() == dict.fromkeys((f"s3://{BUCKET}/{key}" for key in keys), 1)
    if place.startswith("sqs"):
        assert left == 0
