"""The recipe for any language: messages written out, sent and read with redis-cli."""

from __future__ import annotations

import json
import shutil

import pytest
from support.recipe import EXAMPLES, run
from support.waiting import wait_until
from support.worker_process import WorkerProcess

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("redis-cli"), reason="redis-cli is not installed"),
]

SIGNING_KEY = "0f" * 32
MESSAGE = EXAMPLES / "json" / "message.json"


def test_the_example_message_is_answered_under_its_key(redis_url):
    key = f"celery-task-meta-{json.loads(MESSAGE.read_text())['headers']['id']}"
    run("redis-cli", "-u", redis_url, "-x", "LPUSH", "clip", stdin=MESSAGE.read_text())
    wait_until(lambda: run("redis-cli", "-u", redis_url, "EXISTS", key).strip() == "1")
    stored = json.loads(run("redis-cli", "-u", redis_url, "GET", key))
    assert stored["status"] == "SUCCESS"
    assert stored["result"]["predictions"][0]["label"] == "red circle"
    run("redis-cli", "-u", redis_url, "DEL", key)


def test_the_script_prints_the_result_or_the_failure(redis_url, image, image_uri, tmp_path):
    script, labels = str(EXAMPLES / "json" / "classify.sh"), json.dumps(image.labels)
    for photo in (str(image.path), image_uri):
        stored = json.loads(run("sh", script, photo, labels, REDIS_URL=redis_url))
        assert stored["result"]["predictions"][0]["label"] == image.answer

    further = '"score": "cosine", "none_of_these": true'
    stored = json.loads(run("sh", script, image_uri, labels, further, REDIS_URL=redis_url))
    assert -1 <= stored["result"]["predictions"][0]["score"] <= 1
    assert 0 <= stored["result"]["none_of_these"] <= 1

    page, large = tmp_path / "page.jpg", tmp_path / "large.jpg"
    page.write_text("<html>")
    large.write_bytes(bytes(1_000_001))
    for photo, expected in [(page, "[DECODE_UNRECOGNIZED]"), (large, "more than 1000000 bytes")]:
        assert expected in run("sh", script, str(photo), labels, status=1, REDIS_URL=redis_url)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl signs the messages")
def test_the_script_signs_for_workers_that_take_signed_messages_only(server, image, tmp_path):
    script, labels = str(EXAMPLES / "json" / "classify.sh"), json.dumps(image.labels)
    command = ("sh", script, str(image.path), labels)
    with WorkerProcess(server.url, tmp_path, signing_keys=SIGNING_KEY):
        stored = json.loads(run(*command, REDIS_URL=server.url, SIGNING_KEY=SIGNING_KEY))
        assert stored["result"]["predictions"][0]["label"] == image.answer
        assert "[BAD_SIGNATURE]" in run(*command, status=1, REDIS_URL=server.url)
