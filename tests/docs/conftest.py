"""What the snippets of the pages find: pictures, labels, names, a worker and its Redis."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery, chain
from support.fences import Session, starts_workers
from support.redis_server import new_server
from support.worker_process import clean_environment

from clip_worker import Client
from worker.cli.demo.images import DEMO_IMAGES

ROOT = Path(__file__).parents[2]
SHAPES = """# what our cameras see
red circle
violet moon
Red  Circle
purple moon
a blue square
green_heart
other
"""
ANIMALS = """\
{"labels": ["cat", "dog"], "templates": ["a drawing of a {}."], "thresholds": [0.5, null]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Demo pictures under the names that the pages use, and lists of labels."""
    for name in ("pictures", "photos"):
        (tmp_path / name).mkdir()
        for image in DEMO_IMAGES:
            shutil.copy(image.path, tmp_path / name)
    shutil.copytree(tmp_path / "pictures", tmp_path / "clip_engine" / "demo" / "images")
    shutil.copy(tmp_path / "pictures" / "balloon.webp", tmp_path)
    shutil.copy(tmp_path / "pictures" / "clover.jpg", tmp_path / "cat.jpg")
    (tmp_path / "shapes.txt").write_text(SHAPES)
    (tmp_path / "labels.txt").write_text("pink circle\ncyan square\nyellow moon\n")
    (tmp_path / "animals.txt").write_text("cat\ndog\nbird\n")
    (tmp_path / "animals.json").write_text(ANIMALS)
    return tmp_path


@pytest.fixture
def page_redis(page: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The Redis of the shared worker; one of its own for a page that starts workers itself."""
    if starts_workers(page):
        with new_server() as server:
            yield server.url
        return
    url = str(request.getfixturevalue("shared_worker").redis)
    yield url
    with redis.Redis.from_url(url) as shared:
        shared.delete("", "web", "celery", *shared.scan_iter("clip-worker:*label-set*"))


@pytest.fixture
def names(page_redis: str, folder: Path) -> Iterator[dict[str, Any]]:
    """What Python's snippets take from the code around them."""
    app = Celery("shop", broker=page_redis, backend=page_redis, set_as_current=False)
    data = (folder / "balloon.webp").read_bytes()
    uri = "data:;base64," + base64.b64encode(data).decode()

    @app.task(name="shop.best_label")
    def best_label(answer: dict[str, Any]) -> str:
        return str(answer["predictions"][0]["label"])

    with Client(page_redis) as client:
        yield {
            "__name__": "snippet",
            "app": app,
            "asyncio": asyncio,
            "best_label": best_label,
            "chain": chain,
            "client": client,
            "data": data,
            "labels": ["pink circle", "blue circle"],
            "logger": logging.getLogger("snippet"),
            "photo": SimpleNamespace(pk=7),
            "uri": uri,
            "uris": [uri, uri],
            "url": page_redis,
        }
    app.close()


@pytest.fixture
def session(
    page_redis: str, folder: Path, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Session]:
    """Runs a page's snippets."""
    monkeypatch.chdir(folder)
    environment = clean_environment() | {
        "CLIP_WORKER_REDIS_URL": page_redis,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
    }
    replaced = {
        "redis://localhost:6379/0": page_redis,
        "https://example.com/cat.jpg": str(names["uri"]),
    }
    with Session(folder, environment, names, replaced) as session:
        yield session
