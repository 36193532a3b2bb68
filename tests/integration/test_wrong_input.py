"""Wrong input at each door of a running service: one sentence, a code, and the service goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from support.image_zoo import write_zoo
from support.worker_process import WorkerProcess

from worker.client import Client
from worker.errors import (
    ClipWorkerError,
    ImageInvalidError,
    ImageUnavailableError,
    InvalidRequestError,
    QueueUnavailableError,
)
from worker.settings import DEFAULT_QUEUE

pytestmark = pytest.mark.integration

WAIT_S = 30.0
LABELS = ["red circle", "blue square"]


def test_the_worker_answers_every_wrong_message_with_a_typed_sentence_and_goes_on(
    running_worker: WorkerProcess, tmp_path: Path, client: Client, plain: Celery
) -> None:
    # given a producer that checks nothing itself
    [image] = (path.as_uri() for path in write_zoo(tmp_path / "zoo", 1, seed=5))
    text = tmp_path / "text.jpg"
    text.write_text("This is no picture.")
    missing = (tmp_path / "missing.jpg").as_uri()
    wrong: list[tuple[dict[str, Any], type[ClipWorkerError], str, str]] = [
        ({"image": image, "labels": []}, InvalidRequestError, "NO_LABELS", "at least one"),
        ({"image": image}, InvalidRequestError, "NO_LABELS", "labels="),
        ({"image": image, "labels": ["a", "a"]}, InvalidRequestError, "DUPLICATE_LABEL", "'a'"),
        ({"image": image, "labels": LABELS, "k": 0}, InvalidRequestError, "BAD_K", "k is 0"),
        (
            {"image": image, "labels": ["x " * 90]},
            InvalidRequestError,
            "LABEL_TOO_LONG",
            "'a photo",
        ),
        ({"image": "cat.jpg", "labels": LABELS}, InvalidRequestError, "BAD_URI", "'cat.jpg'"),
        ({"labels": LABELS}, InvalidRequestError, "BAD_URI", "'image'"),
        ({"image": image, "labels": LABELS, "K": 3}, InvalidRequestError, "INVALID_REQUEST", "'K'"),
        (
            {"image": image, "label_set": "animals"},
            InvalidRequestError,
            "UNKNOWN_LABEL_SET",
            "'animals'",
        ),
        (
            {"image": missing, "labels": LABELS},
            ImageUnavailableError,
            "FILE_NOT_FOUND",
            missing[-30:],
        ),
        (
            {"image": "file:///etc/hostname", "labels": LABELS},
            ImageUnavailableError,
            "FILE_OUTSIDE_ROOTS",
            "CLIP_WORKER_FILE_ROOTS",
        ),
        (
            {"image": text.as_uri(), "labels": LABELS},
            ImageInvalidError,
            "DECODE_UNRECOGNIZED",
            "This is no p",
        ),
    ]
    # when
    sent = [plain.send_task("clip.classify", kwargs=kwargs) for kwargs, *_ in wrong]
    # then
    for result, (kwargs, kind, code, part) in zip(sent, wrong, strict=True):
        error = result.get(timeout=WAIT_S, propagate=False)
        assert type(error) is kind
        assert error.code == code, kwargs
        assert part in error.message
        assert "\n" not in error.message
    assert client.classify(image, LABELS).get(WAIT_S).predictions
    assert "Traceback" not in running_worker.log


def test_submitting_while_redis_is_down_says_so_within_bounded_time() -> None:
    # given nothing listens on port 1
    with Client("redis://:secret@127.0.0.1:1/0") as client:
        # when / then
        with pytest.raises(
            QueueUnavailableError, match=r"redis://:\*\*\*@127\.0\.0\.1:1/0"
        ) as caught:
            client.classify("https://example.org/cat.jpg", LABELS)
        assert "secret" not in str(caught.value)
        with pytest.raises(QueueUnavailableError, match="Start it"):
            client.upload(b"some bytes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"model": "ViT-B/33"}, ["'ViT-B/33'", "ViT-B/32", "demo"]),
        ({"model": "/nowhere/model.pt"}, ["'/nowhere/model.pt'"]),
        ({"device": "cuda:7"}, ["'cuda:7'"]),
        (
            {"max_batch": "0", "precision": "int3", "redis_url": "localhost"},
            [
                "CLIP_WORKER_MAX_BATCH is '0'",
                "CLIP_WORKER_PRECISION is 'int3'",
                "CLIP_WORKER_REDIS_URL",
            ],
        ),
    ],
)
def test_a_worker_that_cannot_start_exits_non_zero_with_one_sentence_and_takes_no_task(
    redis_url: str, tmp_path: Path, client: Client, settings: dict[str, str], parts: list[str]
) -> None:
    # given a task that waits
    client.classify("https://example.org/cat.jpg", LABELS)
    worker = WorkerProcess(redis_url, tmp_path, **settings)
    # when
    worker.start()
    status = worker.wait_for_end()
    # then
    assert status != 0
    assert all(part in worker.log for part in parts), worker.log
    assert "Traceback" not in worker.log
    assert client._redis.llen(DEFAULT_QUEUE) == 1


@pytest.mark.slow
def test_a_worker_refuses_a_pool_whose_children_could_not_see_its_model(
    redis_url: str, tmp_path: Path
) -> None:
    # given
    command = (sys.executable, "-c", PREFORK)
    worker = WorkerProcess(redis_url, tmp_path, command=command)
    # when
    worker.start()
    # then
    assert worker.wait_for_end() != 0
    assert "'prefork'" in worker.log
    assert "-P threads" in worker.log


PREFORK = """
from worker.celery import app
app.conf.worker_pool = "prefork"
app.worker_main(["worker"])
"""
