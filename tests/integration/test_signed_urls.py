"""A signed URL's way through a real worker: its signature shows nowhere but in the message."""

from __future__ import annotations

import json

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError
from support.scripted_server import answering, response, scripted_server
from support.secret_uris import MALFORMED, SECRET, SIGNED
from support.worker_process import WorkerProcess

from clip_worker import Client
from clip_worker.contract.keys import DEFAULT_QUEUE, dead_key
from clip_worker.redis.dead_letters import DeadLetter

pytestmark = pytest.mark.integration

WAIT_S = 60.0
LABELS = ["red circle", "blue square"]


def uris(port: int) -> list[str]:
    """Images that fail: by their server's answers, by where they lead, by their spelling."""
    paths = ["missing", "failing", "text", "away", "odd", "packed"]
    fetched = [f"http://127.0.0.1:{port}/{path}.jpg{SIGNED}" for path in paths]
    refused = [f"http://10.0.0.1/cat.jpg{SIGNED}", f"http://127.0.0.1:9/cat.jpg{SIGNED}"]
    return [*fetched, *refused, *MALFORMED]


def script(head, connection):
    path = head.split()[1]
    answers = {
        "/missing": response(status="404 Not Found"),
        "/failing": response(status="503 Service Unavailable"),
        "/text": response(b"<html>"),
        "/away": response(status="302 Found", Location=f"ftp://u:{SECRET}@a.example/{SIGNED}"),
        "/odd": b"HTTP/1.1 200 OK\r\nno header\r\nA: b\r\n\r\n<html>",
        "/packed": response(b"x", Content_Encoding=path),
    }
    answering(answers[path.partition(".jpg")[0]])(head, connection)


def results(broker) -> dict[bytes, bytes]:
    return {key: broker.get(key) or b"" for key in broker.scan_iter("celery-task-meta-*")}


def test_a_signature_shows_in_no_result_and_in_no_log(redis_url, tmp_path, broker, plain):
    # given producers that check nothing themselves, on the batch path and on Celery's own
    settings = {"allow_networks": "127.0.0.0/8", "fetch_attempts": "1"}
    ends = []
    with WorkerProcess(redis_url, tmp_path, **settings) as worker, scripted_server(script) as web:
        for uri in (*uris(web.port), uris(web.port)):  # the last is no URI, but a list of them
            asked = {"image": uri, "labels": LABELS}
            ends.append(plain.send_task("clip.classify", kwargs=asked))
            ends.append(plain.send_task("clip.classify", kwargs=asked, countdown=0.01))
        many = {"images": uris(web.port), "labels": LABELS}
        ends.append(plain.send_task("clip.classify_many", kwargs=many))
        # when
        reported = [end.get(timeout=WAIT_S, propagate=False) for end in ends]
    # then
    assert not any(isinstance(each, CeleryTimeoutError) for each in reported)
    stored = results(broker)
    assert len(stored) == len(ends)
    assert [key for key, result in stored.items() if SECRET.encode() in result] == []
    assert SECRET not in worker.log
    assert "FETCH_404" in worker.log  # which names them, though


def test_a_dead_letter_shows_the_signature_in_nothing_but_the_message(
    running_worker, redis_url, broker, plain
):
    # given a message of our client whose body has been damaged on its way
    with Client(redis_url, queue="elsewhere") as client:
        client.classify(f"https://example.com/cat.jpg{SIGNED}", LABELS)
    message = json.loads(broker.rpop("elsewhere") or b"")
    assert SECRET not in json.dumps(message["headers"])
    message["body"] = f"!{SECRET}{message['body']}"
    # when
    broker.lpush(DEFAULT_QUEUE, json.dumps(message))
    plain.AsyncResult(message["headers"]["id"]).get(timeout=WAIT_S, propagate=False)
    # then
    [letter] = map(DeadLetter.decode, broker.hvals(dead_key(DEFAULT_QUEUE)))
    assert letter.id == message["headers"]["id"]
    assert SECRET not in letter.model_copy(update={"message": ""}).encode()
    assert SECRET not in running_worker.log
    [result] = results(broker).values()
    assert SECRET.encode() not in result
