"""Where a worker process gets its weights: from a mirror, from the cache, or not at all."""

from __future__ import annotations

import sys

import pytest
import torch
from support.scripted_server import scripted_server
from support.tiny_clip import openai_state
from support.weights_server import WeightsServer, published
from support.worker_process import WorkerProcess

from clip_engine.weights.catalog import PUBLISHED
from clip_worker.contract.keys import DEFAULT_QUEUE

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# A worker whose catalog has one entry: URL and SHA-256 come as arguments.
TINY_CATALOG = """
import sys
from clip_engine.weights import catalog, locate
locate.PUBLISHED = {"tiny": catalog.Published("tiny", sys.argv[1], sys.argv[2], 32)}
from worker.celery import app
app.worker_main(["worker", "--loglevel", "info"])
"""


@pytest.mark.parametrize("command", [(), (sys.executable, "-m", "worker.cli", "start")])
def test_an_offline_worker_with_an_empty_cache_ends_with_one_sentence_that_has_path_and_url(
    redis_url, tmp_path, client, command
):
    # given a task that waits
    client.classify("https://example.org/cat.jpg", ["a", "b"])
    cache = tmp_path / "cache"
    settings = {"model": "ViT-B/16", "offline": "true", "cache_dir": str(cache)}
    worker = WorkerProcess(redis_url, tmp_path, command=command, **settings)
    # when
    worker.start()
    status = worker.wait_for_end()
    # then
    assert status != 0
    [sentence] = [line for line in worker.log.splitlines() if "ViT-B-16.pt" in line]
    assert f"{cache / 'ViT-B-16.pt'} doesn't exist" in sentence
    assert PUBLISHED["ViT-B/16"].url in sentence
    assert "Traceback" not in worker.log
    assert client._redis.llen(DEFAULT_QUEUE) == 1
    assert not cache.exists()


def test_a_worker_fetches_from_its_mirror_once_and_then_starts_offline(
    redis_url, tmp_path, monkeypatch
):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # given a mirror, and a publisher who is not there
    torch.save(openai_state(), tmp_path / "saved.pt")
    data = (tmp_path / "saved.pt").read_bytes()
    entry = published("http://publisher.invalid/", data)
    command = (sys.executable, "-c", TINY_CATALOG, entry.url, entry.sha256)
    settings = {"model": "tiny", "cache_dir": str(tmp_path / "cache"), "command": command}
    with scripted_server(WeightsServer(data)) as server:
        # when / then
        with WorkerProcess(redis_url, tmp_path, mirror=server.url("/clip"), **settings) as one:
            assert f"tiny ({entry.sha256[:12]}) is ready" in one.log
        assert server.paths == [f"/clip/{entry.sha256}/tiny.pt"]
    # when / then the mirror is gone
    with WorkerProcess(redis_url, tmp_path, name="second", offline="1", **settings) as second:
        assert f"tiny ({entry.sha256[:12]}) is ready" in second.log
