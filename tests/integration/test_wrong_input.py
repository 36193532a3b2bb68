"""Wrong input at each door of a running service: one sentence, a code, and the service goes on."""

from __future__ import annotations

import sys

import pytest
from support.image_zoo import write_zoo
from support.worker_process import WorkerProcess

from clip_engine.prompts import ensemble
from clip_worker import Client
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.errors import (
    ImageInvalidError,
    ImageUnavailableError,
    InvalidRequestError,
    QueueFullError,
    QueueUnavailableError,
)

pytestmark = pytest.mark.integration

WAIT_S = 60.0
LABELS = ["red circle", "blue square", "green triangle"]
PREFORK = """
from worker.celery import app
app.conf.worker_pool = "prefork"
app.worker_main(["worker"])
"""


def test_the_worker_answers_every_wrong_message_with_a_typed_sentence_and_goes_on(
    running_worker, tmp_path, client, plain, image
):
    # given a producer that checks nothing itself
    (tmp_path / "text.jpg").write_text("This is no picture.")
    text, missing = ((tmp_path / name).as_uri() for name in ("text.jpg", "missing.jpg"))
    invalid, unavailable = InvalidRequestError, ImageUnavailableError
    wrong = [
        ({"image": image, "labels": []}, invalid, "NO_LABELS", "at least one"),
        ({"image": image}, invalid, "NO_LABELS", "labels="),
        ({"image": image, "labels": ["a", "a"]}, invalid, "DUPLICATE_LABEL", "'a'"),
        ({"image": image, "labels": LABELS, "k": 0}, invalid, "BAD_K", "k is 0"),
        ({"image": image, "labels": ["x " * 90]}, invalid, "LABEL_TOO_LONG", "'a photo"),
        ({"image": "cat.jpg", "labels": LABELS}, invalid, "BAD_URI", "'cat.jpg'"),
        ({"labels": LABELS}, invalid, "BAD_URI", "'image'"),
        ({"image": image, "labels": LABELS, "K": 3}, invalid, "INVALID_REQUEST", "'K'"),
        ({"image": image, "label_set": "animals"}, invalid, "UNKNOWN_LABEL_SET", "'animals'"),
        ({"image": missing, "labels": LABELS}, unavailable, "FILE_NOT_FOUND", missing[-30:]),
        (
            {"image": "file:///etc/hostname", "labels": LABELS},
            *(unavailable, "FILE_OUTSIDE_ROOTS", "CLIP_WORKER_FILE_ROOTS"),
        ),
        (
            {"image": text, "labels": LABELS},
            *(ImageInvalidError, "DECODE_UNRECOGNIZED", "This is no p"),
        ),
        (
            {"image": image, "labels": LABELS, "ensemble": "imagnet"},
            *(invalid, "UNKNOWN_ENSEMBLE", "'imagnet'"),
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
    assert "photo, imagenet, imagenet-simple" in error.message
    assert client.classify(image, LABELS).get(WAIT_S).predictions
    assert "Traceback" not in running_worker.log


def test_an_ensemble_is_answered_by_its_name(running_worker, tmp_path, plain, engine):
    [picture] = write_zoo(tmp_path / "zoo", 1, seed=5)
    asked = {"image": picture.as_uri(), "labels": LABELS, "ensemble": "imagenet-simple"}
    answer = plain.send_task("clip.classify", kwargs=asked).get(WAIT_S)
    # then as the engine does with its templates, and otherwise than with the usual one
    [expected] = engine.classify([picture], LABELS, template=ensemble("imagenet-simple"))
    [by_one] = engine.classify([picture], LABELS)
    found = {one["label"]: one["probability"] for one in answer["predictions"]}
    assert found == pytest.approx({one.label: one.probability for one in expected}, abs=1e-5)
    assert found != pytest.approx({one.label: one.probability for one in by_one}, abs=1e-4)


def test_submitting_while_redis_is_down_says_so_within_bounded_time():
    # given nothing listens on port 1
    shown = r"redis://:\*\*\*@127\.0\.0\.1:1/0"
    with Client("redis://:secret@127.0.0.1:1/0") as client:
        # when / then
        with pytest.raises(QueueUnavailableError, match=shown) as caught:
            client.classify("https://example.org/cat.jpg", LABELS)
        assert "secret" not in str(caught.value)
        with pytest.raises(QueueUnavailableError, match="Start it"):
            client.upload(b"some bytes")


def test_a_full_queue_and_a_full_redis_are_told_and_nothing_is_half_sent(server):
    operator = server.client()
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "command", "parts"),
    [
        ({"model": "ViT-B/33", "offline": "true"}, (), ["Did you mean 'ViT-B/32'?"]),
        ({"model": "another"}, (), ["'another'", "ViT-B/32", "demo"]),
        ({"model": "/nowhere/model.pt"}, (), ["'/nowhere/model.pt'"]),
        ({"device": "cuda:7"}, (), ["'cuda:7'"]),
        (
            {"max_batch": "0", "precision": "int3", "redis_url": "localhost"},
            (),
            [
                "CLIP_WORKER_MAX_BATCH is '0'",
                "CLIP_WORKER_PRECISION is 'int3'",
                "CLIP_WORKER_REDIS_URL",
            ],
        ),
        # a pool whose children could not see the worker's model
        ({}, (sys.executable, "-c", PREFORK), ["'prefork'", "-P threads"]),
    ],
)
def test_a_worker_that_cannot_start_exits_non_zero_with_one_sentence_and_takes_no_task(
    redis_url, tmp_path, client, settings, command, parts
):
    # given a task that waits
    client.classify("https://example.org/cat.jpg", LABELS)
    worker = WorkerProcess(redis_url, tmp_path, command=command, **settings)
    # when
    worker.start()
    status = worker.wait_for_end()
    # then
    assert status != 0
    assert all(part in worker.log for part in parts), worker.log
    assert "Traceback" not in worker.log
    assert client._redis.llen(DEFAULT_QUEUE) == 1
