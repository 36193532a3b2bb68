r"""Half an emoji on the wire: JSON's `"\ud83d"` is a string that no encoding can write.

JavaScript makes one where it cuts a text in the middle of an emoji. Python's JSON reads it, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from typing import Any

import pytest
from support.messages import body_of, message
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import clean_environment

from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX, QueueKeys
from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.redis.label_sets import KEY_PREFIX

pytestmark = pytest.mark.integration

HALF = "\ud83d"  # of an emoji
LABELS = ["red circle", "blue square"]
LIMIT_S = 60.0
PAST = "2020-01-01T00:00:00+00:00"  # as an ETA it sends a message Celery's own way, without delay
WAYS = pytest.mark.parametrize("way", [{}, {"eta": PAST}], ids=["batch path", "Celery's way"])


@pytest.fixture
def worker(running_worker):
    return running_worker


@pytest.fixture
def push(broker):
    def push(kwargs: dict[str, Any], task: str = "clip.classify", **headers: Any) -> str:
        """Send a message as a producer in JavaScript would write it; the task's id."""
        task_id = headers.pop("id", str(uuid.uuid4()))
        fields = {"task": task, "lang": "js", **headers}
        body = body_of([], kwargs, {})
        broker.lpush(DEFAULT_QUEUE, json.dumps(message(task_id, headers=fields, body=body)))
        return task_id

    return push


@WAYS
def test_a_question_with_half_an_emoji_fails_with_a_typed_sentence_under_its_id(
    worker, client, push, image, way
):
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"image": image, "labels": [*LABELS, f"a {HALF}"]}, "BAD_LABELS"),
        ({"image": f"https://example.org/{HALF}.jpg", "labels": LABELS}, "BAD_URI"),
        ({"image": image, "label_set": HALF}, "INVALID_REQUEST"),
        ({"image": image, "labels": LABELS, "template": f"{HALF} {{}}"}, "BAD_TEMPLATE"),
        ({"image": image, "labels": LABELS, "templates": ["{}", f"{HALF} {{}}"]}, "BAD_TEMPLATE"),
        ({"image": image, "labels": LABELS, "ensemble": HALF}, "BAD_TEMPLATE"),
        ({"image": image, "labels": LABELS, HALF: 1}, "INVALID_REQUEST"),
    ]

    sent = [push(kwargs, **way) for kwargs, _ in wrong]

    for task_id, (kwargs, code) in zip(sent, wrong, strict=True):
        with pytest.raises(InvalidRequestError) as caught:
            client.handle(task_id).get(LIMIT_S)
        assert caught.value.code == code, kwargs
        assert r"\ud83d" in caught.value.message
        caught.value.message.encode()
    assert client.classify(image, LABELS).get(LIMIT_S).predictions
    assert len(client.dead_letters) == 0
    assert "Traceback" not in worker.log


def test_of_several_images_the_one_with_half_an_emoji_fails_alone(worker, broker, push, image):
    images = [image, f"file:///{HALF}.jpg", image]
    task_id = push({"images": images, "labels": LABELS}, "clip.classify_many")
    wait_until(lambda: broker.exists(RESULT_PREFIX + task_id))
    outcomes = json.loads(broker.get(RESULT_PREFIX + task_id))["result"]
    assert [outcome["status"] for outcome in outcomes] == ["ok", "error", "ok"]
    assert outcomes[1]["error"]["code"] == "BAD_URI"


@WAYS
@pytest.mark.parametrize("name", ["group", "parent_id", "root_id"])
def test_a_related_id_with_half_an_emoji_fails_with_a_typed_sentence(
    worker, client, push, image, name, way
):
    task_id = push({"image": image, "labels": LABELS}, **{name: HALF}, **way)
    with pytest.raises(InvalidRequestError, match=name) as caught:
        client.handle(task_id).get(LIMIT_S)
    assert r"\ud83d" in caught.value.message


@WAYS
def test_a_header_for_the_log_may_end_in_half_an_emoji(worker, client, push, image, way):
    odd = {"kwargsrepr": HALF, "argsrepr": HALF, "origin": HALF, "own": [{HALF: 1}]}
    task_id = push({"image": image, "labels": LABELS}, **odd, **way)
    assert client.handle(task_id).get(LIMIT_S).predictions


def test_a_task_whose_id_is_half_an_emoji_is_a_dead_letter_with_one_log_line(
    worker, client, broker, push, image
):
    question = {"image": image, "labels": LABELS}
    push(question, id=HALF)
    assert client.handle(push(question)).get(LIMIT_S).predictions
    wait_until(lambda: len(client.dead_letters), lambda: worker.log)
    [letter] = client.dead_letters.newest(5)
    assert r"\ud83d" in letter.reason
    wait_until(lambda: letter.id in worker.log)
    wait_until(lambda: unacked(broker, QueueKeys(DEFAULT_QUEUE)) == 0)
    assert worker.log.count(letter.id) == 1


def test_who_asks_for_labels_stored_with_half_an_emoji_gets_a_typed_failure(
    worker, client, broker, image
):
    broker.set(KEY_PREFIX + "broken", json.dumps({"version": "1", "labels": ["cat", HALF]}))
    with pytest.raises(ServiceError, match="'broken'") as caught:
        client.classify(image, label_set="broken").get(LIMIT_S)
    assert caught.value.code == "BAD_LABEL_SET"


def test_the_command_line_reads_utf_8_in_any_locale(worker, redis_url, image_file):
    picture = image_file.rename(image_file.with_name("grün.png"))
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
