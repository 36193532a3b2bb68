"""Our messages against those that Celery and kombu write."""

from __future__ import annotations

import base64
import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from worker.client import Client
from worker.contract import (
    CLASSIFY,
    CLASSIFY_MANY,
    SENT_AT_HEADER,
    ClassifyManyRequest,
    ClassifyRequest,
    parse,
)
from worker.contract.message_writer import EncodedRequest, MessageWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer

QUEUE = 'pictures "und" Ümläute'
IMAGE = "https://example.org/it's%20a%20\u2028cat.jpg"
QUESTIONS: list[dict[str, Any]] = [
    {"labels": ["cat", "dög", 'quo"ted', "it's", "\\ \u2028"]},
    {"label_set": "animals", "k": 3, "threshold": 0.25, "return_embedding": True},
    {"labels": ["a"], "templates": ["a {}", "the {}."], "deadline": 1763730000.5},
]
OPTIONS: list[dict[str, Any]] = [{}, {"priority": 4}, {"expires": 60}, {"priority": 9}]
OWN = ("reply_to", "delivery_tag")  # each sender's, and each message's


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Client]:
    with Client(redis_server.url, queue=QUEUE) as client:
        redis_server.client().flushall()
        yield client


def theirs(client: Client, task: str, task_id: str, **options: Any) -> bytes:
    """What Celery and kombu put on the list."""
    client._app.send_task(task, task_id=task_id, headers={SENT_AT_HEADER: 1.5}, **options)
    lists = [key for key in client._redis.scan_iter() if key.startswith(QUEUE.encode())]
    [message] = [client._redis.rpop(name) for name in lists]
    return bytes(message)


def ours(task: str, task_id: str, question: Any, options: dict[str, Any]) -> str:
    written = EncodedRequest(question)
    arguments = (
        written.with_image(question.image)
        if task == CLASSIFY
        else written.with_images(list(question.images))
    )
    options = {"expires_s" if name == "expires" else name: v for name, v in options.items()}
    return MessageWriter(QUEUE).write(task_id, task, arguments, **options)


@pytest.mark.integration
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("asked", QUESTIONS, ids=["labels", "label set", "templates"])
@pytest.mark.parametrize("task", [CLASSIFY, CLASSIFY_MANY])
def test_each_field_is_what_celery_and_kombu_write(
    client: Client,
    task: str,
    asked: dict[str, Any],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given one task, and a clock that stands still
    request = ClassifyRequest if task == CLASSIFY else ClassifyManyRequest
    pictures = {"image": IMAGE} if task == CLASSIFY else {"images": [IMAGE, "file:///b.jpg"]}
    question = parse(request, asked | pictures)
    task_id = str(uuid.uuid4())
    monkeypatch.setattr(time, "time", lambda: 1.5)
    # when
    kwargs = question.model_dump(mode="json", exclude_none=True)
    kombus = theirs(client, task, task_id, kwargs=kwargs, **options).decode()
    written = ours(task, task_id, question, options)
    # then
    expected, found = json.loads(kombus), json.loads(written)
    for message in (expected, found):
        for name in OWN:
            assert uuid.UUID(message["properties"].pop(name))
        message["headers"].pop("expires")  # below
    assert json.loads(base64.b64decode(found["body"])) == json.loads(
        base64.b64decode(expected["body"])
    )
    assert found == expected
    assert list(found) == list(expected)
    assert list(found["headers"]) == list(expected["headers"])
    assert list(found["properties"]) == list(expected["properties"])


@pytest.mark.integration
def test_without_ids_and_times_it_is_the_same_byte_for_byte(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.5)
    constant = uuid.uuid4()
    monkeypatch.setattr(uuid, "uuid4", lambda: constant)
    question = parse(ClassifyRequest, {"image": IMAGE} | QUESTIONS[0])
    kwargs = question.model_dump(mode="json", exclude_none=True)
    kombus = theirs(client, CLASSIFY, str(constant), kwargs=kwargs, reply_to=str(constant))
    written = ours(CLASSIFY, str(constant), question, {})
    tag = json.loads(kombus)["properties"]["delivery_tag"]  # kombu has taken uuid4 already
    assert written.replace(str(constant), tag) == kombus.decode().replace(str(constant), tag)


def test_a_task_expires_so_many_seconds_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    monkeypatch.setattr(time, "time", now.timestamp)
    question = parse(ClassifyRequest, {"image": IMAGE, "labels": ["a"]})
    message = json.loads(ours(CLASSIFY, "id", question, {"expires": 90.5}))
    assert datetime.fromisoformat(message["headers"]["expires"]) == now + timedelta(seconds=90.5)
    assert message["properties"]["expiration"] == "90500"


def test_what_logs_show_of_a_huge_request_is_short_and_names_the_picture() -> None:
    # given a picture inside its URI, and ten thousand labels
    labels = [f"label {n}" for n in range(10_000)]
    image = "data:image/jpeg;base64," + 100_000 * "A"
    question = parse(ClassifyRequest, {"image": image, "labels": labels})
    # when
    message = json.loads(ours(CLASSIFY, "id", question, {}))
    # then
    shown = message["headers"]["kwargsrepr"]
    assert len(shown) < 1500
    assert "'image': 'data:image/jpeg;base64,...'" in shown
    [_, kwargs, _] = json.loads(base64.b64decode(message["body"]))
    assert (kwargs["image"], kwargs["labels"]) == (image, labels)


def test_each_message_has_a_tag_of_its_own() -> None:
    question = parse(ClassifyRequest, {"image": IMAGE, "labels": ["a"]})
    writer, arguments = MessageWriter(QUEUE), EncodedRequest(question).with_image(IMAGE)
    tags = {
        json.loads(writer.write("id", CLASSIFY, arguments))["properties"]["delivery_tag"]
        for _ in range(100)
    }
    assert len(tags) == 100
