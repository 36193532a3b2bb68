"""Unreadable messages: one error each, with the reason and the task's id.

The oracle for readable ones is Celery: its `Request` must accept every message that `Envelope`
accepts, since an exception there ends the worker.
"""

from __future__ import annotations

import json
import tracemalloc
from copy import deepcopy
from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.messages import (
    ID,
    KNOWN,
    SOUND,
    TASK,
    UNREADABLE,
    body_of,
    compressed,
    message,
    without,
)

from clip_worker.contract.message_body import JSON
from clip_worker.contract.message_reader import Envelope, UnreadableMessageError
from worker.delivery.celery_bridge import message_of
from worker.delivery.delivery import Delivery


@pytest.mark.parametrize(
    ("wrong", "reason", "task_id"),
    [pytest.param(*case, id=name) for name, *case in UNREADABLE],
)
def test_an_unreadable_message_is_rejected_with_the_reason_and_its_id_if_it_has_one(
    wrong, reason, task_id
):
    raw = wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode()

    with pytest.raises(UnreadableMessageError) as caught:
        Envelope.decode(raw)

    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert caught.value.envelope.id == task_id


ARGUMENTS = {"args": ["file:///a.png"], "kwargs": {"labels": ["a"]}}
PARTS = json.dumps([*ARGUMENTS.values(), None])


@pytest.mark.parametrize(
    "raw",
    [
        without(SOUND, "content-type"),
        SOUND | {"content-type": None},
        without(SOUND, "content-encoding"),
        without(SOUND, "properties") | {"body": PARTS},
        {"body": json.dumps(KNOWN | ARGUMENTS | {"retries": 0}), "content-type": JSON},
        SOUND | {"body": json.dumps(ARGUMENTS), "properties": {}},
    ],
    ids=[
        *("no content type", "a content type of null", "no content encoding"),
        *("no properties and a body of text", "protocol 1", "the hybrid of both protocols"),
    ],
)
def test_a_message_with_less_than_kombu_writes_is_read_all_the_same(raw):
    envelope = Envelope.decode(json.dumps(raw).encode())

    assert (envelope.id, envelope.task) == (ID, TASK)
    assert envelope.is_plain
    assert envelope.arguments[:2] == tuple(ARGUMENTS.values())


@pytest.mark.parametrize(
    "raw",
    [
        message(ID, args=("\ud83d",), headers={"kwargsrepr": "\ud83d", "own": ["\ud83d"]}),
        SOUND | {"body": '[["\ud83d"], {}, {}]', "properties": {}},
        {"body": json.dumps(KNOWN | {"args": ["\ud83d"]}), "properties": {}},
    ],
    ids=["a body in base64", "a body of text", "protocol 1"],
)
def test_a_lone_surrogate_that_does_not_matter_to_celery_is_left_to_the_task(raw):
    envelope = Envelope.decode(json.dumps(raw).encode())

    assert envelope.id == ID
    assert envelope.arguments.args == ["\ud83d"]
    assert json.loads(envelope.body.decode(errors="surrogatepass"))[0] == ["\ud83d"]


def test_a_compressed_body_that_grows_too_much_is_rejected_with_limited_memory():
    # given: 0.2 MB that would become 200
    bomb = json.dumps(message(ID, **compressed(200_000_000))).encode()
    assert len(bomb) < 1_000_000
    tracemalloc.start()
    # when
    with pytest.raises(UnreadableMessageError, match="grows to more than"):
        Envelope.decode(bomb)
    # then
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "application/json", "2026-01-01T00:00:00", TASK, "base64"])
    | st.just("\ud83d")
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_HEADER_NAMES = [
    *("id", "task", "root_id", "parent_id", "group", "group_index", "shadow", "origin"),
    *("argsrepr", "kwargsrepr", "eta", "expires", "retries", "replaced_task_nesting"),
    *("timelimit", "ignore_result", "compression", "stamped_headers", "stamps", "lang"),
    *("meth", "clip_sent_at", "unheard_of"),
]
_PROPERTY_NAMES = [
    *("correlation_id", "reply_to", "body_encoding", "priority", "delivery_info"),
    *("delivery_mode", "delivery_tag", "expiration"),
]
_places = st.one_of(
    st.tuples(st.just("headers"), st.sampled_from(_HEADER_NAMES)),
    st.tuples(st.just("properties"), st.sampled_from(_PROPERTY_NAMES)),
    st.tuples(st.sampled_from(["content-type", "content-encoding", "headers", "properties"])),
)
_bodies = st.none() | st.tuples(_json, _json, _json).map(lambda parts: body_of(*parts))


@pytest.fixture(scope="module")
def app():
    app = Celery(set_as_current=False, broker="memory://")

    def classify(*_args: Any, **_kwargs: Any) -> None: ...

    app.task(name=TASK, shared=False)(classify)
    app.finalize()
    return app


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(st.tuples(_places, _json), max_size=3), body=_bodies)
def test_every_message_is_rejected_or_accepted_by_celery(app, changes, body):
    # given
    fields = deepcopy(SOUND) | ({} if body is None else {"body": body})
    for (*path, name), value in changes:
        place = fields.get(path[0]) if path else fields
        if isinstance(place, dict):
            place[name] = value
    # when
    try:
        envelope = Envelope.decode(json.dumps(fields).encode())
    except UnreadableMessageError:
        return
    # then
    assert envelope.expires() is None or envelope.expires()
    request = Request(_for_celery(envelope), app=app, task=app.tasks.get(TASK))
    assert request.id == envelope.id
    assert list(request.args) == envelope.arguments.args
    request.revoked()
    request.info(safe=True)
    if request.eta:
        request.eta.timestamp()


def _for_celery(envelope: Envelope) -> Any:
    return message_of(Delivery(None, "tag", (), b"", envelope), None)  # type: ignore[arg-type]


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bytes_raise_no_other_error(raw):
    with pytest.raises(UnreadableMessageError) as caught:
        Envelope.decode(raw)

    assert len(str(caught.value)) < 400
