"""Messages that can't be read: one error each, in words, that knows whose task it was.

The oracle for those that can is Celery: its `Request` must take every message that `Envelope` lets
through, since what it raises otherwise ends the worker.
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
from messages import TASK, body_of, compressed, message, without

from worker.delivery.envelope import Envelope, UnreadableMessageError
from worker.delivery.held import Delivery
from worker.delivery.standard import StandardWay

ID = "d9d5a0f2"
SOUND = message(ID, args=("file:///a.png",), kwargs={"labels": ["a"]})
KNOWN = {"id": ID, "task": TASK}
SIGNATURE = {"task": "users.next", "args": [], "kwargs": {}, "options": {}}


def _embedding(**embed: Any) -> dict[str, Any]:
    return message(ID, body=body_of([], {}, embed))


UNREADABLE: list[tuple[str, Any, str, str]] = [  # what it is, the message, the reason, its id
    ("nothing", b"", "no JSON", ""),
    ("no JSON", b"{no message", "no JSON", ""),
    ("a list", [], "give a JSON object", ""),
    ("a number", 7, "give a JSON object", ""),
    ("half an emoji", b'{"x": "\\ud83d", "headers": {"id": "d9d5a0f2"}}', "no JSON", ID),
    ("headers of a list", SOUND | {"headers": []}, "headers are []", ""),
    ("headers of a text", SOUND | {"headers": "x"}, "headers are 'x'", ""),
    ("properties of a list", SOUND | {"properties": [1]}, "properties are [1]", ID),
    ("pickle", SOUND | {"content-type": "application/x-python-serialize"}, "content type", ID),
    ("yaml", SOUND | {"content-type": "application/x-yaml"}, "task_serializer='json'", ID),
    ("msgpack", SOUND | {"content-type": "application/x-msgpack"}, "content type", ID),
    ("bytes", SOUND | {"content-type": "application/data"}, "'application/data'", ID),
    ("a content type of a list", SOUND | {"content-type": [1]}, "content type is [1]", ID),
    ("UTF-16", SOUND | {"content-encoding": "utf-16"}, "content encoding is 'utf-16'", ID),
    ("no body", without(SOUND, "body"), "body is missing", ID),
    ("a body of a number", SOUND | {"body": 7}, "of type int", ID),
    ("a body of an object", SOUND | {"body": {}}, "of type dict", ID),
    ("bad base64", SOUND | {"body": "!!"}, "no base64", ID),
    ("an empty body", SOUND | {"body": ""}, "no JSON", ID),
    ("a body of text", message(ID, body=body_of("x")[:-4]), "no ", ID),
    ("a body of one part", message(ID, body=body_of([])), "give [args, kwargs, embed]", ID),
    ("args of an object", message(ID, body=body_of({}, {}, {})), "args are {}", ID),
    ("kwargs of a list", message(ID, body=body_of([], [], {})), "kwargs are []", ID),
    ("embed of a text", message(ID, body=body_of([], {}, "x")), "embed are 'x'", ID),
    ("callbacks of a text", _embedding(callbacks="x"), "callbacks is 'x'", ID),
    ("a callback of a number", _embedding(callbacks=[7]), "callbacks.0 is 7", ID),
    ("a callback of no task", _embedding(errbacks=[{"args": []}]), "errbacks.0.task", ID),
    ("a chain of an object", _embedding(chain={"task": "x"}), "chain is", ID),
    ("a chord of a list", _embedding(chord=["x"]), "chord is", ID),
    ("a callback of a kind that is none", _embedding(callbacks=[SIGNATURE | {"subtask_type": "z"}]),
     "'z' is not a kind", ID),
    ("base85", message(ID, properties={"body_encoding": "base85"}), "'base85'", ID),
    ("a body encoding of a list", message(ID, properties={"body_encoding": []}), "is []", ID),
    ("a delivery info of a text", message(ID, properties={"delivery_info": "x"}), "'x'", ID),
    ("a routing key of a number", message(ID, properties={"delivery_info": {"routing_key": 1}}),
     "'delivery_info'", ID),
    ("a priority of a text", message(ID, properties={"priority": "high"}), "'high'", ID),
    ("an unknown compression", message(ID, headers={"compression": "zip"}), "'zip'", ID),
    ("no compressed body", message(ID, headers={"compression": "bzip2"}), "not compressed", ID),
    ("a compression of a list", message(ID, headers={"compression": ["x"]}), "['x']", ID),
    ("no id", without(SOUND, "headers", "id"), "'id' is missing", ""),
    ("an empty id", message("", headers={"id": ""}), "'id' is ''", ""),
    ("a number as id", message(ID, headers={"id": 77}), "'id' is 77", "77"),
    ("a list as id", message(ID, headers={"id": ["x"]}), "'id' is ['x']", ""),
    ("a long id", message(ID, headers={"id": "x" * 256}), "'id' is 'xxx", ""),
    ("an id elsewhere", message("", properties={"correlation_id": ID}), "'id' is ''", ID),
    ("no task", without(SOUND, "headers", "task"), "'task' is missing", ID),
    ("a task of a list", message(ID, headers={"task": [TASK]}), "'task' is ['clip", ID),
    ("a task of null", message(ID, headers={"task": None}), "'task' is None", ID),
    ("a time limit of a text", message(ID, headers={"timelimit": "x"}), "'timelimit' is 'x'", ID),
    ("a time limit of one", message(ID, headers={"timelimit": [5]}), "'timelimit' is [5]", ID),
    ("time limits of text", message(ID, headers={"timelimit": ["a", 1]}), "'timelimit'", ID),
    ("a time limit below 0", message(ID, headers={"timelimit": [-1, None]}), "'timelimit'", ID),
    ("a wrong ETA", message(ID, headers={"eta": "soon"}), "'eta' is 'soon'", ID),
    ("an ETA of a number", message(ID, headers={"eta": 1763730000}), "'eta' is 1763730000", ID),
    ("an ETA before time", message(ID, headers={"eta": "0001-01-01T00:00:00+14:00"}), "'eta'", ID),
    ("a wrong expiry", message(ID, headers={"expires": "later"}), "'expires' is 'later'", ID),
    ("an expiry of a list", message(ID, headers={"expires": [1]}), "'expires' is [1]", ID),
    ("retries of a text", message(ID, headers={"retries": "one"}), "'retries' is 'one'", ID),
    ("retries below 0", message(ID, headers={"retries": -1}), "'retries' is -1", ID),
    ("a group of a number", message(ID, headers={"group": 5}), "'group' is 5", ID),
    ("a root of a list", message(ID, headers={"root_id": []}), "'root_id' is []", ID),
    ("a shadow of an object", message(ID, headers={"shadow": {}}), "'shadow' is {}", ID),
    ("stamps of a text", message(ID, headers={"stamps": "x"}), "'stamps' is 'x'", ID),
    ("stamped headers of a text", message(ID, headers={"stamped_headers": "x"}), "'x'", ID),
    ("an ignored result of a text", message(ID, headers={"ignore_result": "no"}), "'no'", ID),
    ("an argsrepr of a list", message(ID, headers={"argsrepr": []}), "'argsrepr' is []", ID),
    ("protocol 1 without an id", message("", headers=None, body=json.dumps({"task": TASK}),
     properties={"body_encoding": None}) | {"headers": {}}, "'id' is missing", ""),
    ("protocol 1 with wrong args", message("", body=json.dumps(KNOWN | {"args": "x"}),
     properties={"body_encoding": None}) | {"headers": {}}, "args are 'x'", ID),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "reason", "task_id"),
    [pytest.param(*case, id=name) for name, *case in UNREADABLE],
)
def test_what_cant_be_read_is_refused_in_words_and_with_its_id_where_it_has_one(
    wrong: Any, reason: str, task_id: str
) -> None:
    raw = wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode()

    with pytest.raises(UnreadableMessageError) as caught:
        Envelope.decode(raw)

    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert caught.value.envelope.id == task_id


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(without(SOUND, "content-type"), id="no content type"),
        pytest.param(SOUND | {"content-type": None}, id="a content type of null"),
        pytest.param(without(SOUND, "content-encoding"), id="no content encoding"),
        pytest.param(
            without(SOUND, "properties")
            | {"body": json.dumps([["file:///a.png"], {"labels": ["a"]}, None])},
            id="no properties and a body of text",
        ),
        pytest.param(
            {
                "body": json.dumps(
                    KNOWN | {"args": ["file:///a.png"], "kwargs": {"labels": ["a"]}, "retries": 0}
                ),
                "content-type": "application/json",
                "properties": {},
            },
            id="protocol 1",
        ),
        pytest.param(
            SOUND
            | {
                "body": json.dumps({"args": ["file:///a.png"], "kwargs": {"labels": ["a"]}}),
                "properties": {},
            },
            id="the hybrid of both protocols",
        ),
    ],
)
def test_what_says_less_than_kombu_does_is_read_all_the_same(raw: dict[str, Any]) -> None:
    envelope = Envelope.decode(json.dumps(raw).encode())

    assert (envelope.id, envelope.task) == (ID, TASK)
    assert envelope.is_plain
    assert envelope.arguments[:2] == (["file:///a.png"], {"labels": ["a"]})


def test_a_compressed_body_that_grows_without_measure_is_refused_within_its_bound() -> None:
    # given: half a megabyte that would become 486
    bomb = json.dumps(message(ID, **compressed(486_000_000))).encode()
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
def app() -> Celery:
    app = Celery(set_as_current=False, broker="memory://")

    def classify(*_args: Any, **_kwargs: Any) -> None: ...

    app.task(name=TASK)(classify)
    app.finalize()
    return app


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(st.tuples(_places, _json), max_size=3), body=_bodies)
def test_whatever_stands_in_a_message_is_refused_or_taken_by_celery(
    app: Celery, changes: list[tuple[tuple[str, ...], Any]], body: str | None
) -> None:
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
    delivery = Delivery(None, envelope, b"", (), ["tag"])  # type: ignore[arg-type]
    return StandardWay(None)._message(delivery)  # type: ignore[arg-type]


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_there_are_nothing_else_is_raised(raw: bytes) -> None:
    with pytest.raises(UnreadableMessageError) as caught:
        Envelope.decode(raw)

    assert len(str(caught.value)) < 400
