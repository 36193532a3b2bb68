"""Our messages compared with those that Celery and kombu write."""

from __future__ import annotations

import base64
import json
import time
import uuid
from datetime import UTC, datetime, timedelta

import celery
import pytest
from celery.signals import before_task_publish

from clip_worker.contract import (
    CLASSIFY,
    CLASSIFY_MANY,
    SENT_AT_HEADER,
    ClassifyManyRequest,
    ClassifyRequest,
    parse,
)
from clip_worker.contract.message_writer import EncodedRequest, MessageWriter
from clip_worker.redis.celery_app import RedisCelery, redis_configuration

QUEUE = 'images "und" Ümläute'
IMAGE = "https://example.org/it's%20a%20\u2028cat.jpg"
REQUESTS = [
    {"labels": ["cat", "dög", 'quo"ted', "it's", "\\ \u2028"]},
    {"label_set": "animals", "k": 3, "threshold": 0.25, "return_embedding": True},
    {"labels": ["a"], "templates": ["a {}", "the {}."], "deadline": 1763730000.5},
    {"labels": ["a"], "score": "cosine", "none_of_these": True, "threshold": -0.5},
]
OPTIONS = [{}, {"priority": 4}, {"expires": 60}, {"priority": 9}]
OWN = ("reply_to", "delivery_tag")  # different for each sender and each message
# What earlier ones write as false: a task's result is kept unless its sender says otherwise.
CELERY_5_7 = ('"ignore_result": null', '"ignore_result": false')


@pytest.fixture
def theirs(redis_server):
    """What Celery and kombu put onto the list for a request."""
    app = RedisCelery("producer", set_as_current=False)
    url = redis_server.url
    app.conf.update(redis_configuration(url, url), task_default_queue=QUEUE)
    redis = redis_server.client()
    redis.flushall()

    def theirs(task, task_id, request, **options: object):
        given = request.model_fields_set | {"k", "return_embedding"}  # always written
        kwargs = request.model_dump(mode="json", include=given)
        headers = {SENT_AT_HEADER: 1.5}
        app.send_task(task, task_id=task_id, kwargs=kwargs, headers=headers, **options)
        lists = [key for key in redis.scan_iter() if key.startswith(QUEUE.encode())]
        [message] = [redis.rpop(name) for name in lists]
        text = message.decode()
        return text if celery.VERSION < (5, 7) else text.replace(*CELERY_5_7)

    yield theirs
    app.close()


def test_a_default_request_is_written_as_it_always_was():
    """So that workers of earlier versions, who don't know later options, take it."""
    for usual in ({}, {"score": "softmax", "none_of_these": False}):
        request = parse(ClassifyRequest, {"image": "data:,", "labels": ["cat"], **usual})
        arguments = EncodedRequest(request).with_image("data:,")
        assert arguments.encoded == (
            '{"labels": ["cat"], "k": 5, "return_embedding": false, "image": "data:,"}'
        )


def ours(task, task_id, request, options=()):
    encoded = EncodedRequest(request)
    arguments = (
        encoded.with_image(request.image)
        if task == CLASSIFY
        else encoded.with_images(list(request.images))
    )
    options = {"expires_s" if name == "expires" else name: v for name, v in dict(options).items()}
    return MessageWriter(QUEUE).write(task_id, task, arguments, **options)


@pytest.mark.integration
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("request_", REQUESTS, ids=["labels", "set", "templates", "scores"])
@pytest.mark.parametrize("task", [CLASSIFY, CLASSIFY_MANY])
def test_each_field_is_as_celery_and_kombu_write_it(theirs, task, request_, options, monkeypatch):
    # given one task, and a clock that stands still
    kind = ClassifyRequest if task == CLASSIFY else ClassifyManyRequest
    images = {"image": IMAGE} if task == CLASSIFY else {"images": [IMAGE, "file:///b.jpg"]}
    request = parse(kind, request_ | images)
    task_id = str(uuid.uuid4())
    monkeypatch.setattr(time, "time", lambda: 1.5)
    # when
    expected = json.loads(theirs(task, task_id, request, **options))
    written = json.loads(ours(task, task_id, request, options))
    # then
    for message in (expected, written):
        for name in OWN:
            assert uuid.UUID(message["properties"].pop(name))
        message["headers"].pop("expires")  # tested below
    bodies = [json.loads(base64.b64decode(message["body"])) for message in (written, expected)]
    assert bodies[0] == bodies[1]
    assert written == expected
    for name in ("headers", "properties"):
        assert list(written[name]) == list(expected[name])


@pytest.mark.integration
def test_without_ids_and_times_the_message_is_the_same_byte_for_byte(theirs, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1.5)
    constant = uuid.uuid4()
    monkeypatch.setattr(uuid, "uuid4", lambda: constant)
    request = parse(ClassifyRequest, {"image": IMAGE} | REQUESTS[0])
    expected = theirs(CLASSIFY, str(constant), request, reply_to=str(constant))
    written = ours(CLASSIFY, str(constant), request, {})
    tag = json.loads(expected)["properties"]["delivery_tag"]  # kombu has imported uuid4 already
    assert written.replace(str(constant), tag) == expected.replace(str(constant), tag)


@pytest.mark.integration
def test_receivers_of_celerys_signal_get_the_same_and_may_add_headers(theirs, monkeypatch):
    # given a receiver that traces
    monkeypatch.setattr(time, "time", lambda: 1.5)
    heard = []

    @before_task_publish.connect
    def trace(sender, body, headers, properties, **fields):
        fields = {name: fields[name] for name in ("exchange", "routing_key", "retry_policy")}
        fields["correlation_id"] = properties["correlation_id"]  # kombu adds others later
        heard.append((sender, *map(json.dumps, (body, headers, fields))))
        headers["traceparent"] = "00-a-b-01"

    request = parse(ClassifyRequest, {"image": IMAGE} | REQUESTS[0])
    # when Celery sends a task, and we do
    try:
        messages = [json.loads(send(CLASSIFY, "id", request)) for send in (theirs, ours)]
    finally:
        before_task_publish.disconnect(trace)
    # then
    assert heard[0] == heard[1]
    assert [message["headers"].pop("traceparent") for message in messages] == ["00-a-b-01"] * 2
    for message in messages:
        for name in OWN:
            message["properties"].pop(name)
    assert messages[0] == messages[1]


def test_a_task_expires_the_given_number_of_seconds_from_now(monkeypatch):
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    monkeypatch.setattr(time, "time", now.timestamp)
    request = parse(ClassifyRequest, {"image": IMAGE, "labels": ["a"]})
    message = json.loads(ours(CLASSIFY, "id", request, {"expires": 90.5}))
    assert datetime.fromisoformat(message["headers"]["expires"]) == now + timedelta(seconds=90.5)
    assert message["properties"]["expiration"] == "90500"


def test_a_huge_request_is_short_in_logs_and_names_the_image():
    # given an image inside its URI, and ten thousand labels
    labels = [f"label {n}" for n in range(10_000)]
    image = "data:image/jpeg;base64," + 100_000 * "A"
    request = parse(ClassifyRequest, {"image": image, "labels": labels})
    # when
    message = json.loads(ours(CLASSIFY, "id", request, {}))
    # then
    shown = message["headers"]["kwargsrepr"]
    assert len(shown) < 1500
    assert "'image': 'data:image/jpeg;base64,...'" in shown
    [_, kwargs, _] = json.loads(base64.b64decode(message["body"]))
    assert (kwargs["image"], kwargs["labels"]) == (image, labels)


def test_each_message_has_its_own_delivery_tag():
    request = parse(ClassifyRequest, {"image": IMAGE, "labels": ["a"]})
    writer, arguments = MessageWriter(QUEUE), EncodedRequest(request).with_image(IMAGE)
    messages = [json.loads(writer.write("id", CLASSIFY, arguments)) for _ in range(100)]
    assert len({message["properties"]["delivery_tag"] for message in messages}) == 100
