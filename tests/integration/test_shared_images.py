"""The same picture asked for many times at once by a real worker: fetched and encoded once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.image_zoo import photo
from support.scrape import scraped
from support.scripted_server import response, scripted_server
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker.errors import ExpiredError, ImageUnavailableError
from worker.cli.demo.redis_server import find_free_port

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from celery import Celery

    from clip_worker import Client

pytestmark = pytest.mark.integration

LIMIT_S = 120.0
EARLY_S = 10.0  # until the first task expires: the others have come by then


def test_many_tasks_on_one_picture_are_one_fetch_one_decode_and_one_forward_pass(
    redis_url: str, tmp_path: Path, client: Client, plain: Celery
) -> None:
    # given: a server that counts and holds its answers, and a worker that may fetch there
    photo((64, 64), 1).save(tmp_path / "cat.png")
    picture, go = (tmp_path / "cat.png").read_bytes(), threading.Event()

    def script(head: str, connection: socket.socket) -> None:
        go.wait(LIMIT_S)
        is_there = "/cat.png" in head
        connection.sendall(response(picture) if is_there else response(status="404 Not Found"))

    port = find_free_port()
    # A window that has room for all: it grows with what is answered, and nothing is.
    options: dict[str, Any] = {
        "allow_networks": "127.0.0.0/8",
        "metrics_port": str(port),
        "max_batch": "32",
    }
    with scripted_server(script) as site, WorkerProcess(redis_url, tmp_path, **options):
        # when: ten tasks with labels of their own, ten images of one message, and one that expires
        uri = site.url("/cat.png")
        early = client.classify(uri, ["first", "label"], deadline=time.time() + EARLY_S)
        wait_until(lambda: site.heads)
        handles = [client.classify(uri, ["red", f"label {n}"], k=1 + n % 2) for n in range(10)]
        several = {"images": [uri] * 10, "labels": ["a", "b"]}
        many = plain.signature("clip.classify_many", kwargs=several).apply_async()
        missing = [client.classify(site.url("/none.png"), ["a", "b"]) for _ in range(5)]
        with pytest.raises(ExpiredError):
            early.get(LIMIT_S)  # while the picture is still being fetched
        wait_until(lambda: scraped(port)["clip_worker_in_flight_images",] >= 25, limit_s=LIMIT_S)
        go.set()

        # then
        for n, handle in enumerate(handles):
            result = handle.get(LIMIT_S)
            assert {p.label for p in result.predictions} <= {"red", f"label {n}"}
            assert len(result.predictions) == 1 + n % 2
        outcomes = many.get(LIMIT_S)
        assert [outcome["status"] for outcome in outcomes] == ["ok"] * 10
        for handle in missing:
            with pytest.raises(ImageUnavailableError):
                handle.get(LIMIT_S)
        assert sorted(site.paths) == ["/cat.png", "/none.png"]
        metrics = scraped(port)
        assert metrics["clip_worker_batch_images_sum",] == 1
        assert metrics["clip_worker_images_total", "", "succeeded"] == 20
