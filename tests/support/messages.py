"""Celery messages written by hand, right and wrong, for tests of what a worker makes of them."""

from __future__ import annotations

import base64
import json
import zlib
from functools import cache
from typing import Any

TASK = "clip.classify"


def body_of(*parts: Any) -> str:
    """A body of protocol 2 in base64, as kombu writes it."""
    return base64.b64encode(json.dumps(parts).encode()).decode()


def message(
    task_id: str,
    *,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    properties: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A sound message; `headers`, `properties` and `fields` replace parts of it."""
    return {
        "body": body_of(args, kwargs or {}, {}),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": task_id, "task": TASK} | (headers or {}),
        "properties": {"body_encoding": "base64", "delivery_tag": "tag"} | (properties or {}),
    } | fields


def without(fields: dict[str, Any], *path: str) -> dict[str, Any]:
    """The same message without one of its fields, named by its path."""
    copy: dict[str, Any] = json.loads(json.dumps(fields))
    place = copy
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return copy


@cache
def compressed(size: int, header: str = "application/x-gzip") -> dict[str, Any]:
    """What to add to a message so that its body is so many bytes of JSON, compressed."""
    text = b"[[" + b"0," * (size // 2) + b"0], {}, {}]"
    body = base64.b64encode(zlib.compress(text, 9)).decode()
    return {"body": body, "headers": {"compression": header}}


ID = "d9d5a0f2"
SOUND = message(ID, args=("file:///a.png",), kwargs={"labels": ["a"]})
KNOWN = {"id": ID, "task": TASK}
SIGNATURE = {"task": "users.next", "args": [], "kwargs": {}, "options": {}}


def embedding(**embed: Any) -> dict[str, Any]:
    return message(ID, body=body_of([], {}, embed))


UNREADABLE: list[tuple[str, Any, str, str]] = [  # what it is, the message, the reason, its id
    ("nothing", b"", "not valid JSON", ""),
    ("no JSON", b"{no message", "not valid JSON", ""),
    ("a list", [], "send a JSON object", ""),
    ("a number", 7, "send a JSON object", ""),
    ("nested too deeply", b"[" * 100_000 + b"]" * 100_000, "not valid JSON", ""),
    ("half an emoji as id", message("\ud83d"), r"'id' is '\ud83d'", ""),
    ("half an emoji as task", message(ID, headers={"task": "\ud83d"}), r"is '\ud83d'", ID),
    ("half an emoji as group", message(ID, headers={"group": "\ud83d"}), "a lone surrogate", ID),
    ("half an emoji as root", message(ID, headers={"root_id": "\ud83d"}), r"is '\ud83d': it", ID),
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
    ("bad base64", SOUND | {"body": "!!"}, "not valid base64", ID),
    ("an empty body", SOUND | {"body": ""}, "not valid JSON", ID),
    ("a body of text", message(ID, body=body_of("x")[:-4]), "not valid", ID),
    ("a body of one part", message(ID, body=body_of([])), "send [args, kwargs, embed]", ID),
    ("args of an object", message(ID, body=body_of({}, {}, {})), "args are {}", ID),
    ("kwargs of a list", message(ID, body=body_of([], [], {})), "kwargs are []", ID),
    ("embed of a text", message(ID, body=body_of([], {}, "x")), "embed are 'x'", ID),
    ("callbacks of a text", embedding(callbacks="x"), "callbacks is 'x'", ID),
    ("a callback of a number", embedding(callbacks=[7]), "callbacks.0 is 7", ID),
    ("a callback of no task", embedding(errbacks=[{"args": []}]), "errbacks.0.task", ID),
    ("a chain of an object", embedding(chain={"task": "x"}), "chain is", ID),
    ("a chord of a list", embedding(chord=["x"]), "chord is", ID),
    ("a callback of a kind that is none", embedding(callbacks=[SIGNATURE | {"subtask_type": "z"}]),
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
    ("a tenant with a space", message(ID, headers={"clip_tenant": "a b"}), "1 to 64 letters", ID),
    ("a tenant of a number", message(ID, headers={"clip_tenant": 7}), "'clip_tenant' is 7", ID),
    ("an argsrepr of a list", message(ID, headers={"argsrepr": []}), "'argsrepr' is []", ID),
    ("protocol 1 without an id", message("", headers=None, body=json.dumps({"task": TASK}),
     properties={"body_encoding": None}) | {"headers": {}}, "'id' is missing", ""),
    ("protocol 1 with wrong args", message("", body=json.dumps(KNOWN | {"args": "x"}),
     properties={"body_encoding": None}) | {"headers": {}}, "args are 'x'", ID),
]  # fmt: skip
