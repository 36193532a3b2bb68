"""A real worker that keeps embeddings: what is stored is neither decoded nor encoded again."""

from __future__ import annotations

import base64
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from support.image_zoo import photo
from support.scrape import scraped
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from worker.cli.demo.redis_server import find_free_port
from worker.embeddings.open import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from support.redis_server import RedisServer

    from clip_worker.contract import Classification

pytestmark = [pytest.mark.integration, pytest.mark.slow]  # they start workers of their own

LIMIT_S = 120.0
LABELS = ["a red thing", "a blue thing", "a cat"]
FLOAT16 = 2e-3


def pictures(folder: Path, count: int = 4) -> list[Path]:
    paths = [folder / f"{n}.png" for n in range(count)]
    for n, path in enumerate(paths):
        photo((64, 48), n).save(path)
    return paths


def count(port: int, name: str, *labels: str) -> float:
    return scraped(port).get((f"clip_worker_{name}", *labels), 0.0)


def forward_passes(port: int) -> float:
    return count(port, "batch_images_sum")


def assert_same(first: Classification, again: Classification) -> None:
    assert (first.embedding_from, again.embedding_from) == (None, "store")
    scores = {each.label: each.probability for each in first.predictions}
    for each in again.predictions:
        assert each.probability == pytest.approx(scores[each.label], abs=FLOAT16)
    assert (again.timing.decode, again.timing.forward, again.timing.batch_size) == (0, 0, 0)


def test_a_stored_embedding_answers_by_file_by_data_and_by_upload_and_after_a_kill(
    redis_url: str, server: RedisServer, tmp_path: Path
) -> None:
    paths, port = pictures(tmp_path), find_free_port()
    options: dict[str, Any] = {"embedding_store": server.url, "metrics_port": str(port)}
    with (
        Client(redis_url) as client,
        WorkerProcess(redis_url, tmp_path, **options) as worker,
    ):
        # given
        firsts = [client.classify(path.as_uri(), LABELS).get(LIMIT_S) for path in paths]
        wait_until(lambda: count(port, "embeddings_stored_total", "written") == len(paths))
        encoded = forward_passes(port)

        # when the same pictures are asked about again, with other names
        for path, first in zip(paths, firsts, strict=True):
            data = path.read_bytes()
            copy = path.with_suffix(".copy.png")
            copy.write_bytes(data)
            inline = "data:image/png;base64," + base64.b64encode(data).decode()
            for uri in (path.as_uri(), copy.as_uri(), inline, client.upload(path)):
                assert_same(first, client.classify(uri, LABELS).get(LIMIT_S))
        changed = client.classify(paths[0].as_uri(), ["other", "labels"]).get(LIMIT_S)

        # then
        assert {each.label for each in changed.predictions} == {"other", "labels"}
        assert forward_passes(port) == encoded
        assert count(port, "embedding_lookups_total", "hit") == 4 * len(paths) + 1
        [space] = open_store(server.url).spaces()
        [batch] = open_store(server.url).scan(space)
        assert all("base64,i" not in image for image in batch.images)
        worker.kill()
    with Client(redis_url) as client, WorkerProcess(redis_url, tmp_path, name="next", **options):
        assert_same(firsts[0], client.classify(paths[0].as_uri(), LABELS).get(LIMIT_S))
        assert forward_passes(port) == 0


def test_a_store_that_stands_still_or_is_away_holds_nothing_up_and_is_used_once_it_is_back(
    redis_url: str, server: RedisServer, tmp_path: Path
) -> None:
    paths, port = pictures(tmp_path, 12), find_free_port()
    options: dict[str, Any] = {"embedding_store": server.url, "metrics_port": str(port)}
    with (
        Client(redis_url) as client,
        WorkerProcess(redis_url, tmp_path, **options) as worker,
    ):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            handles = [client.classify(path.as_uri(), LABELS) for path in paths]
            assert all(h.get(LIMIT_S).embedding_from is None for h in handles)
            assert count(port, "embedding_lookups_total", "skipped") == len(paths)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        server.kill()
        handles = [client.classify(path.as_uri(), LABELS) for path in paths]
        assert all(h.get(LIMIT_S).embedding_from is None for h in handles)
        assert worker.log.count("No embeddings are read until") == 1
        server.restart()

        def is_used() -> bool:
            result = client.classify(paths[0].as_uri(), LABELS).get(LIMIT_S)
            return result.embedding_from == "store"

        wait_until(is_used, limit_s=LIMIT_S)


def test_a_preparation_process_that_is_killed_while_it_waits_for_an_answer_costs_nothing(
    redis_url: str, server: RedisServer, tmp_path: Path
) -> None:
    paths, port = pictures(tmp_path, 6), find_free_port()
    options: dict[str, Any] = {"embedding_store": server.url, "metrics_port": str(port)}
    with Client(redis_url) as client, WorkerProcess(redis_url, tmp_path, **options) as worker:
        assert server.pid is not None
        first = client.classify(paths[0].as_uri(), LABELS).get(LIMIT_S)
        assert first.predictions
        os.kill(server.pid, signal.SIGSTOP)
        try:
            handles = [client.classify(path.as_uri(), LABELS) for path in paths]
            for pid in preparation_processes(worker.pid):
                os.kill(pid, signal.SIGKILL)
            assert all(handle.get(LIMIT_S).predictions for handle in handles)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert client.classify(paths[0].as_uri(), LABELS).get(LIMIT_S).predictions


def preparation_processes(worker: int) -> list[int]:
    """Grandchildren of a worker, by way of the fork server."""
    from pathlib import Path

    def children(pid: int) -> list[int]:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    return [pid for server in children(worker) for pid in children(server)]
