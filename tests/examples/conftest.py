"""What the tests of the recipes share: a worker with the demo model, an image, HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import urllib3
from support.recipe import Recipe, full_queue_url
from support.worker_process import WorkerProcess

from clip_worker.contract.keys import DEFAULT_QUEUE
from worker.cli.demo.images import DEMO_IMAGES, DemoImage


@pytest.fixture
def redis_url(shared_worker: WorkerProcess) -> str:
    return shared_worker.redis


@pytest.fixture
def full_queue(redis_url: str) -> Iterator[redis.Redis]:
    """Another database of that Redis, where 500 messages wait that nobody reads."""
    with redis.Redis.from_url(full_queue_url(redis_url)) as broker:
        broker.lpush(DEFAULT_QUEUE, *["{}"] * 500)
        yield broker
        broker.flushdb()


@pytest.fixture
def recipe(redis_url: str, tmp_path: Path) -> Iterator[Recipe]:
    recipe = Recipe(redis_url, tmp_path)
    yield recipe
    recipe.close()


@pytest.fixture
def image() -> DemoImage:
    """A JPEG with red hearts."""
    return DEMO_IMAGES[0]


@pytest.fixture
def image_uri(image: DemoImage, tmp_path: Path) -> str:
    """Its URI, below the worker's file root."""
    return Path(shutil.copy(image.path, tmp_path)).as_uri()


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(timeout=60.0, retries=False) as http:
        yield http
