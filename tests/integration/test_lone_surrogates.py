r"""Half an emoji on the wire: JSON's `"\ud83d"` is a string that no encoding can write.

JavaScript makes one where it cuts a text in the middle of an emoji. Python's JSON reads it, too.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import redis
from support.image_zoo import photo
from support.queue_state import unacked
from support.worker_process import WorkerProcess, clean_environment

from worker.contract.keys import QueueKeys
from worker.errors import InvalidRequestError, ServiceError
from worker.redis.label_sets import KEY_PREFIX
from worker.settings import DEFAULT_QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.client import Client

pytestmark = pytest.mark.integration

QUEUE = DEFAULT_QUEUE
KEYS = QueueKeys(QUEUE)
HALF = "\ud83d"  # of an emoji
LABELS = ["red circle", "blue square"]
LIMIT_S = 60.0
PAST = "2020-01-01T00:00:00+00:00"  # as an ETA it sends a message Celery's own way, without delay


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def worker(running_worker: WorkerProcess, tmp_path: Path) -> WorkerProcess:
    photo((64, 48), seed=1).save(tmp_path / "cat.jpg")
    return running_worker


def push(
    server: redis.Redis, kwargs: dict[str, Any], task: str = "clip.classify", **headers: Any
) -> str:
    """A message as a producer in JavaScript would write it; the task's id."""
    given = {"id": str(uuid.uuid4()), "task": task, "lang": "js", **headers}
    body = json.dumps([[], kwargs, {}])
    message = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": given,
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "correlation_id": given["id"],
        },
    }
    server.lpush(QUEUE, json.dumps(message))
    return str(given["id"])


@pytest.mark.parametrize("headers", [{}, {"eta": PAST}], ids=["batch path", "Celery's way"])
def test_a_question_with_half_an_emoji_fails_with_a_typed_sentence_under_its_id(
    worker: WorkerProcess,
    client: Client,
    server: redis.Redis,
    tmp_path: Path,
    headers: dict[str, str],
) -> None:
    image = (tmp_path / "cat.jpg").as_uri()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"image": image, "labels": [*LABELS, f"a {HALF}"]}, "BAD_LABELS"),
        ({"image": f"https://example.org/{HALF}.jpg", "labels": LABELS}, "BAD_URI"),
        ({"image": image, "label_set": HALF}, "INVALID_REQUEST"),
        ({"image": image, "labels": LABELS, "template": f"{HALF} {{}}"}, "BAD_TEMPLATE"),
        ({"image": image, "labels": LABELS, "templates": ["{}", f"{HALF} {{}}"]}, "BAD_TEMPLATE"),
        ({"image": image, "labels": LABELS, "ensemble": HALF}, "BAD_TEMPLATE"),
        ({"image": image, "labels": LABELS, HALF: 1}, "INVALID_REQUEST"),
    ]

    sent = [push(server, kwargs, **headers) for kwargs, _ in wrong]

    for task_id, (kwargs, code) in zip(sent, wrong, strict=True):
        with pytest.raises(InvalidRequestError) as caught:
            client.handle(task_id).get(LIMIT_S)
        assert caught.value.code == code, kwargs
        assert r"\ud83d" in caught.value.message
        caught.value.message.encode()
    assert client.classify(image, LABELS).get(LIMIT_S).predictions
    assert len(client.dead_letters) == 0
    assert "Traceback" not in worker.log


def test_of_several_pictures_the_one_with_half_an_emoji_fails_alone(
    worker: WorkerProcess, server: redis.Redis, tmp_path: Path, client: Client
) -> None:
    image = (tmp_path / "cat.jpg").as_uri()
    task_id = push(
        server,
        {"images": [image, f"file:///{HALF}.jpg", image], "labels": LABELS},
        "clip.classify_many",
    )
    client.handle(task_id)
    outcomes = json.loads(_result(server, task_id))["result"]
    assert [outcome["status"] for outcome in outcomes] == ["ok", "error", "ok"]
    assert outcomes[1]["error"]["code"] == "BAD_URI"


@pytest.mark.parametrize("name", ["group", "parent_id", "root_id"])
def test_an_id_of_the_family_with_half_an_emoji_fails_with_a_typed_sentence(
    worker: WorkerProcess, client: Client, server: redis.Redis, tmp_path: Path, name: str
) -> None:
    question = {"image": (tmp_path / "cat.jpg").as_uri(), "labels": LABELS}
    for headers in ({}, {"eta": PAST}):
        task_id = push(server, question, **{name: HALF}, **headers)
        with pytest.raises(InvalidRequestError, match=name) as caught:
            client.handle(task_id).get(LIMIT_S)
        assert r"\ud83d" in caught.value.message


def test_a_header_for_the_log_may_end_in_half_an_emoji(
    worker: WorkerProcess, client: Client, server: redis.Redis, tmp_path: Path
) -> None:
    question = {"image": (tmp_path / "cat.jpg").as_uri(), "labels": LABELS}
    for headers in ({}, {"eta": PAST}):
        task_id = push(
            server,
            question,
            kwargsrepr=HALF,
            argsrepr=HALF,
            origin=HALF,
            own=[{HALF: 1}],
            **headers,
        )
        assert client.handle(task_id).get(LIMIT_S).predictions


def test_a_task_whose_id_is_half_an_emoji_is_a_dead_letter_with_one_log_line(
    worker: WorkerProcess, client: Client, server: redis.Redis, tmp_path: Path
) -> None:
    question = {"image": (tmp_path / "cat.jpg").as_uri(), "labels": LABELS}
    push(server, question, id=HALF)
    good = push(server, question)
    assert client.handle(good).get(LIMIT_S).predictions
    end = time.monotonic() + LIMIT_S
    while len(client.dead_letters) == 0:
        assert time.monotonic() < end, worker.log
        time.sleep(0.02)
    [letter] = client.dead_letters.newest(5)
    assert r"\ud83d" in letter.reason
    assert worker.log.count(letter.id) == 1
    assert unacked(server, KEYS) == 0


def test_labels_stored_with_half_an_emoji_are_told_to_whoever_asks_for_them(
    worker: WorkerProcess, client: Client, server: redis.Redis, tmp_path: Path
) -> None:
    server.set(KEY_PREFIX + "broken", json.dumps({"version": "1", "labels": ["cat", HALF]}))
    with pytest.raises(ServiceError, match="'broken'") as caught:
        client.classify((tmp_path / "cat.jpg").as_uri(), label_set="broken").get(LIMIT_S)
    assert caught.value.code == "BAD_LABEL_SET"


def test_the_command_line_reads_utf_8_in_any_locale(
    worker: WorkerProcess, redis_url: str, tmp_path: Path
) -> None:
    picture = tmp_path / "grün.jpg"
    picture.write_bytes((tmp_path / "cat.jpg").read_bytes())
    command = [
        *(sys.executable, "-m", "worker.cli", "classify", picture, "--labels", "grün,blau"),
        *("--redis-url", redis_url),
    ]
    environment = clean_environment() | {"LC_ALL": "C", "PYTHONUTF8": "0"}
    for options in ([], ["--json"]):
        ended = subprocess.run(
            [os.fsencode(part) for part in (*command, *options)],
            env=environment,
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, b"")
        # stdout is ASCII there
        assert (rb"gr\u00fcn" if options else rb"gr\xfcn") in ended.stdout


def _result(server: redis.Redis, task_id: str) -> bytes:
    end = time.monotonic() + LIMIT_S
    while (stored := server.get(f"celery-task-meta-{task_id}")) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert isinstance(stored, bytes)
    return stored
