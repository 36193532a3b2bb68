"""Celery messages written by hand, right and wrong, for tests of what a worker makes of them."""

from __future__ import annotations

import base64
import json
import zlib
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


def compressed(size: int, header: str = "application/x-gzip") -> dict[str, Any]:
    """What to add to a message so that its body is so many bytes of JSON, compressed."""
    text = b"[[" + b"0," * (size // 2) + b"0], {}, {}]"
    body = base64.b64encode(zlib.compress(text, 9)).decode()
    return {"body": body, "headers": {"compression": header}}
