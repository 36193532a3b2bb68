"""The log of real workers: JSON from the first line to the last, few lines, no secret."""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

import pytest
from celery import signature
from support.redis_server import new_server
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.errors import ImageUnavailableError, InvalidRequestError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["red", "green"]
LIMIT_S = 60.0
PASSWORD = "pass/word-of-redis"
URL_PASSWORD = "pass%2Fword-of-redis"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
IN_IMAGE = "token-in-a-query"
START = (sys.executable, "-m", "worker.cli", "start")
FLOOD = 10_000
MOST_LINES = 12
MINUTE_S = 90.0
START_LIMIT_S = 240.0  # of a start that fails, on a busy machine


def lines_of(worker: WorkerProcess) -> list[Any]:
    return [json.loads(line) for line in worker.log.splitlines()]


@pytest.mark.parametrize("command", [(), (*START, "--loglevel", "info")], ids=["celery", "start"])
def test_every_line_is_json_from_the_first_to_the_last_and_none_has_a_secret(
    tmp_path, image_file, command
):
    with new_server() as server:
        server.client().config_set("requirepass", PASSWORD)
        url = server.url.replace("redis://", f"redis://:{URL_PASSWORD}@")
        settings = {"log_format": "json", "webhook_secret": SECRET, "allow_private": "true"}
        with (
            WorkerProcess(url, tmp_path, command=command, **settings) as worker,
            Client(url) as client,
        ):
            good = client.classify(image_file.as_uri(), LABELS)
            assert good.get(LIMIT_S).predictions
            client.classify(f"http://127.0.0.1:1/cat.jpg?{IN_IMAGE}", LABELS)
            missing = client.classify("file:///nowhere/cat.jpg", LABELS)
            with pytest.raises(ImageUnavailableError):
                missing.get(LIMIT_S)
            no = signature("clip.classify", args=("file:///no", LABELS), app=client._app)
            late = client.handle(no.apply_async(countdown=0.1, ignore_result=False).id)
            gc.collect()  # Celery's result speaks to Redis when it is collected
            with pytest.raises(ImageUnavailableError):
                late.get(LIMIT_S)
            client._app.control.broadcast("no_such_command")
            assert worker.stop() == 0

            lines = lines_of(worker)
            for line in lines:
                assert line.keys() >= {"time", "level", "logger", "message"}
            messages = [line["message"] for line in lines]
            assert any("is ready on" in message for message in messages)
            assert any("Warm shutdown" in message for message in messages)
            about = {line["task_id"]: line for line in lines if "task_id" in line}
            assert about[good.id]["queue"] == "clip"
            assert about[missing.id]["code"] == "FILE_OUTSIDE_ROOTS"
            assert late.id in about
            for secret in (PASSWORD, URL_PASSWORD, SECRET, IN_IMAGE):
                assert secret not in worker.log


def test_a_start_that_fails_is_json_too(redis_url, tmp_path):
    settings = {"log_format": "json", "model": str(tmp_path / "no.pt")}
    for number, command in enumerate([(), START]):
        worker = WorkerProcess(redis_url, tmp_path, name=f"w{number}", command=command, **settings)
        worker.start()

        assert worker.wait_for_end(START_LIMIT_S) == 1
        last = lines_of(worker)[-1]
        assert last["level"] == "CRITICAL"
        assert "can't be loaded" in last["message"]


def test_ten_thousand_wrong_requests_are_one_line_a_minute_at_the_default_level(
    redis_url, tmp_path
):
    with WorkerProcess(redis_url, tmp_path, command=START) as worker, Client(redis_url) as client:
        worker.wait_for_log("taking tasks")
        worker.begin_log()
        handles = [client.classify("file:///nowhere/cat.jpg", LABELS) for _ in range(FLOOD)]
        with pytest.raises((ImageUnavailableError, InvalidRequestError)):
            handles[-1].get(LIMIT_S)

        def counted() -> int:
            minutes = [line for line in worker.log.splitlines() if "failed tasks: " in line]
            found = [line.split("failed tasks: ")[1].split(" ")[0] for line in minutes]
            return sum(int(count.replace(",", "")) for count in found)

        wait_until(lambda: counted() == FLOOD, lambda: worker.log, limit_s=2 * MINUTE_S)
        assert len(worker.log.splitlines()) <= MOST_LINES
        assert "FILE_OUTSIDE_ROOTS" in worker.log
