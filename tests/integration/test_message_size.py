"""Messages that are too large, or too many things in one: refused, with bounded memory."""

from __future__ import annotations

import json

import pytest
from support.messages import message
from support.peak_memory import Peak, needs_peaks
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.errors import InvalidRequestError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 180.0
MB = 1_000_000
MILLION = 1_000_000
LABELS = ["red", "blue"]
NESTED = "[" * MB + "]" * MB


def code_of(client: Client, task_id: str) -> str:
    """With which code a task failed."""
    with pytest.raises(InvalidRequestError) as caught:
        client.handle(task_id).get(LIMIT_S)
    return caught.value.code


@needs_peaks
def test_messages_of_a_hundred_megabytes_are_refused_and_leave_nothing(
    redis_url, tmp_path, client, broker, image
):
    with WorkerProcess(redis_url, tmp_path, max_message_bytes=str(10 * MB)) as worker:
        assert client.classify(image, LABELS).get(LIMIT_S)
        before, peak = broker.info("memory")["used_memory"], Peak(worker.pid)
        for number in range(5):
            raw = json.dumps(message(f"large-{number}", body="x" * 100 * MB))
            broker.lpush(DEFAULT_QUEUE, raw)
            assert code_of(client, f"large-{number}") == "MESSAGE_TOO_LARGE"
        # one at a time may pass through the worker on its way, but none stays
        assert peak.own_growth_bytes() < 400 * MB
        wait_until(lambda: broker.info("memory")["used_memory"] < before + 10 * MB)
        assert len(client.dead_letters.newest(5)) == 5
        with pytest.raises(InvalidRequestError, match="can't be replayed"):
            client.dead_letters.replay(["large-0"])
        assert client.classify(image, LABELS).get(LIMIT_S)


def test_too_many_things_in_one_message_fail_it_alone(running_worker, client, broker, image):
    many = list(map(str, range(MILLION)))
    made = {
        "labels": message("labels", args=(image, many)),
        "images": message(
            "images", args=(["x"] * MILLION, LABELS), headers={"task": "clip.classify_many"}
        ),
        "nested": message("nested", body=NESTED, properties={"body_encoding": None}),
        "nested-argument": message(
            "nested-argument",
            body=f'[["{image}", {NESTED}], {{}}, {{}}]',
            properties={"body_encoding": None},
        ),
    }
    broker.lpush(DEFAULT_QUEUE, *map(json.dumps, made.values()))

    assert code_of(client, "labels") == "TOO_MANY_LABELS"
    assert code_of(client, "images") == "INVALID_REQUEST"
    assert code_of(client, "nested") == code_of(client, "nested-argument") == "UNREADABLE"
    assert client.classify(image, LABELS).get(LIMIT_S)


def test_a_client_refuses_what_no_worker_takes_before_anything_is_sent(client, broker):
    large = "data:;base64," + "A" * 110 * MB
    with pytest.raises(InvalidRequestError, match=r"upload the images \(Client.upload\)") as caught:
        client.submit_many(["data:,x", large], LABELS)
    assert caught.value.code == "MESSAGE_TOO_LARGE"
    assert broker.llen(DEFAULT_QUEUE) == 0
