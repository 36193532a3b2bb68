"""What the integration tests share: a broker, a worker, images, an engine to compare with."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from PIL import Image
from support.scripted_server import HeldSite, held_site
from support.worker_process import WorkerProcess

from clip_engine import Engine, load_engine
from clip_worker import Client
from clip_worker.contract.keys import DEFAULT_QUEUE


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The demo model in this process: what the workers' answers are held against."""
    return load_engine("demo", precision="float32")


@pytest.fixture
def running_worker(shared_worker: WorkerProcess) -> Iterator[WorkerProcess]:
    """The shared worker, and what it logs from now on; `tmp_path` is below its file root."""
    shared_worker.begin_log()
    yield shared_worker
    assert shared_worker.running.poll() is None, shared_worker.log


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """An empty Redis; or the running worker's, without what other tests have left there."""
    if "running_worker" not in request.fixturenames:
        server = request.getfixturevalue("redis_server")
        server.client().flushall()
        return str(server.url)
    url = str(request.getfixturevalue("shared_worker").redis)
    with redis.Redis.from_url(url) as server:
        left = ("celery-task-meta-*", "clip-worker:*:dead*", "clip-worker:upload:*")
        for pattern in (*left, "clip-worker:*:sent:*"):
            server.delete("", *server.scan_iter(pattern))
    return url


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    """To look into it, and to write what no client of ours would."""
    with redis.Redis.from_url(redis_url) as broker:
        yield broker


@pytest.fixture
def backend_worker(redis_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A stock Celery worker of backend_app.py on the queue `user`, not yet started."""
    worker = WorkerProcess(
        redis_url,
        tmp_path,
        *("-P", "solo", "-Q", "user"),
        name="user",
        app="backend_app",
        environment={"BACKEND_REDIS_URL": redis_url},
    )
    yield worker
    worker.kill()


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


@pytest.fixture
def plain(redis_url: str) -> Iterator[Celery]:
    """A producer that knows no more than the broker's URL and our route."""
    app = Celery(broker=redis_url, backend=redis_url, set_as_current=False)
    app.conf.task_routes = {"clip.*": {"queue": DEFAULT_QUEUE}}
    yield app
    for result in list(app.backend._pending_results.concrete.values()):
        app.backend.remove_pending_result(result)
    app.backend._pending_messages.clear()  # errors whose tracebacks hold the results of the test
    with warnings.catch_warnings():
        # Celery and kombu leave it to the garbage collector to close sockets.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # Celery's results speak to Redis when they are collected: while it runs, then
    app.close()


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    """A red square."""
    path = tmp_path / "red.png"
    Image.new("RGB", (64, 64), "red").save(path)
    return path


@pytest.fixture
def image(image_file: Path) -> str:
    """Its URI."""
    return image_file.as_uri()


@pytest.fixture
def site(image_file: Path) -> Iterator[HeldSite]:
    """A web server that sends the red square once `go` is set."""
    with held_site(image_file.read_bytes()) as site:
        yield site
