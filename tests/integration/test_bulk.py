"""Bulk submission to a real worker, and the bound on its queue."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.image_zoo import write_zoo
from support.redis_server import RedisServer, find_executable
from support.worker_process import WorkerProcess

from worker.client import Client
from worker.client.handle import as_completed
from worker.errors import ImageUnavailableError, QueueFullError, QueueUnavailableError
from worker.settings import DEFAULT_QUEUE

pytestmark = pytest.mark.integration

IMAGES = 120
DIFFERENT = 12
LABELS = ["red square", "blue circle", "green star"]
WAIT_S = 120.0


def test_each_of_many_requests_has_the_answer_that_it_would_have_alone(
    running_worker: WorkerProcess, redis_url: str, tmp_path: Path
) -> None:
    # given pictures of which each third asks something of its own, and one is not there
    zoo = [path.as_uri() for path in write_zoo(tmp_path / "zoo", DIFFERENT, seed=0)]
    images = [zoo[index % DIFFERENT] for index in range(IMAGES)]
    images[7] = (tmp_path / "missing.png").as_uri()
    requests = [
        {"image": image, "labels": ["ring", "heart"], "k": 1} if index % 3 == 0 else image
        for index, image in enumerate(images)
    ]
    # when they are sent through a queue that never holds more than fifty
    with Client(redis_url, max_queue_length=50, when_full="wait", wait_limit_s=WAIT_S) as client:
        handles = client.submit_many(requests, LABELS, k=2)
        assert {one.id for one in as_completed(handles, timeout=WAIT_S)} == {
            one.id for one in handles
        }
        # then
        with pytest.raises(ImageUnavailableError, match=r"missing\.png"):
            handles[7].get(0)
        for index in (0, 1, 2, 3, IMAGES - 1):
            own = index % 3 == 0
            answer = handles[index].get(0)
            assert len(answer.predictions) == (1 if own else 2)
            assert {p.label for p in answer.predictions} <= (
                {"ring", "heart"} if own else set(LABELS)
            )
            alone = client.classify(images[index], ["ring", "heart"] if own else LABELS)
            assert alone.get(WAIT_S).predictions[0].probability == pytest.approx(
                answer.predictions[0].probability, abs=1e-5
            )


def test_a_full_queue_and_a_full_redis_are_told_and_nothing_is_half_sent() -> None:
    executable = find_executable()
    assert executable is not None
    with RedisServer(executable) as server, server.client() as operator:
        with Client(server.url, max_queue_length=10) as client:
            client.submit_many(["data:,x"] * 8, LABELS)
            with pytest.raises(QueueFullError, match="8 messages are waiting, of at most 10"):
                client.submit_many(["data:,x"] * 3, LABELS)
            client.submit_many(["data:,x"] * 2, LABELS)
            with pytest.raises(QueueFullError):
                client.classify("data:,x", LABELS)
            with pytest.raises(QueueFullError):
                next(client.classify_many(["data:,x"], LABELS))
            assert operator.llen(DEFAULT_QUEUE) == 10
        # when there is no memory left
        operator.config_set("maxmemory", 1)
        with Client(server.url) as client:
            for call in (
                lambda: client.classify("data:,x", LABELS),
                lambda: client.submit_many(["data:,x"] * 3, LABELS),
                lambda: client.upload(b"picture"),
                lambda: client.put_label_set("set", LABELS),
            ):
                with pytest.raises(QueueUnavailableError, match="its memory is full"):
                    call()
        assert operator.llen(DEFAULT_QUEUE) == 10
