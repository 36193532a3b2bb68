"""Validates a message's headers and properties before Celery or this package uses them.

Fields and types are those of Celery's task message protocol, version 2
(https://docs.celeryq.dev/en/stable/internals/protocol.html); unknown headers are ignored. What
Celery's own `Request` reads without checking is checked here, since an exception there ends the
worker. The checks are plain functions for speed: they run for every message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from clip_worker.contract.tenants import TENANT_HEADER, TENANT_REMEDY, is_tenant
from clip_worker.contract.text import LONE_SURROGATE, is_text
from clip_worker.quoting import quote

MOST_ID_CHARS = 255
MOST_NAMED = 3  # invalid fields that an error names

# From a value that is not None to what to send instead; None if it is valid.
Check: TypeAlias = Callable[[Any], str | None]


def parse_time(text: str) -> datetime:
    """Parse an ISO 8601 time; one without a time zone is in UTC.

    Raises:
        ValueError: It is not one, or out of the range of Unix times.
    """
    time = datetime.fromisoformat(text)
    zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        zoned.astimezone().timestamp()
    except OverflowError as error:
        raise ValueError("the time is out of range") from error
    return zoned


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "send a string or null"


def _id(value: Any) -> str | None:
    if not isinstance(value, str):
        return "send a string or null"
    return None if is_text(value) else f"it {LONE_SURROGATE}"


def _tenant(value: Any) -> str | None:
    return None if is_tenant(value) else f"send {TENANT_REMEDY}, or null"


def _time(value: Any) -> str | None:
    try:
        parse_time(value)
    except (TypeError, ValueError):
        return "send an ISO 8601 time or null"
    return None


def _integer(value: Any) -> str | None:
    return None if type(value) is int else "send an integer or null"


def _count(value: Any) -> str | None:
    return None if type(value) is int and value >= 0 else "send an integer of 0 or more, or null"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "send true, false or null"


def _is_seconds(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < math.inf)


def _time_limits(value: Any) -> str | None:
    is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_seconds, value))
    return None if is_pair else "send two numbers of seconds, or null"


def _texts(value: Any) -> str | None:
    are_texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return None if are_texts else "send a list of strings or null"


def _object(value: Any) -> str | None:
    return None if isinstance(value, dict) else "send an object or null"


def _body_encoding(value: Any) -> str | None:
    remedy = "send 'base64', or omit it if the body is plain JSON"
    return None if isinstance(value, str) else remedy


def _delivery_info(value: Any) -> str | None:
    return _object(value) or _first_fault(value, {"exchange": _text, "routing_key": _text})


def _first_fault(fields: Mapping[str, Any], checks: Mapping[str, Check]) -> str | None:
    return next(iter(_faults(fields, checks).values()), None)


_HEADERS: Mapping[str, Check] = {
    **dict.fromkeys(("root_id", "parent_id", "group"), _id),
    **dict.fromkeys(("shadow", "origin", "argsrepr", "kwargsrepr", "compression"), _text),
    **dict.fromkeys(("eta", "expires"), _time),
    **dict.fromkeys(("retries", "replaced_task_nesting"), _count),
    "group_index": _integer,
    "timelimit": _time_limits,
    "ignore_result": _flag,
    "stamped_headers": _texts,
    "stamps": _object,
    TENANT_HEADER: _tenant,
}
_PROPERTIES: Mapping[str, Check] = {
    "correlation_id": _text,
    "reply_to": _text,
    "body_encoding": _body_encoding,
    "priority": _integer,
    "delivery_info": _delivery_info,
}
_NAMES = {
    "id": f"send a string of 1 to {MOST_ID_CHARS} characters",
    "task": "send the task's name",
}


def fault_of_headers(headers: Mapping[str, Any]) -> str | None:
    """What is wrong with the headers; None if they are valid.

    >>> fault_of_headers({"id": "1", "task": "t", "timelimit": "soon"})
    "its header 'timelimit' is 'soon': send two numbers of seconds, or null"
    """
    faults = {name: remedy for name, remedy in _NAMES.items() if not _is_name(headers.get(name))}
    faults |= _faults(headers, _HEADERS)
    return _described(faults, headers, "header") if faults else None


def fault_of_properties(properties: Mapping[str, Any]) -> str | None:
    """What is wrong with the properties; None if they are valid."""
    faults = _faults(properties, _PROPERTIES)
    return _described(faults, properties, "property") if faults else None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= MOST_ID_CHARS and is_text(value)


def _faults(fields: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, str]:
    """Each invalid field, and what to send instead."""
    faults = {}
    for name, value in fields.items():
        if value is not None and (check := checks.get(name)) and (remedy := check(value)):
            faults[name] = remedy
    return faults


def _described(faults: Mapping[str, str], fields: Mapping[str, Any], kind: str) -> str:
    sentences = []
    for name, remedy in list(faults.items())[:MOST_NAMED]:
        value = f"is {quote(fields[name])}" if name in fields else "is missing"
        sentences.append(f"its {kind} {name!r} {value}: {remedy}")
    if len(faults) > MOST_NAMED:
        sentences.append(f"{len(faults) - MOST_NAMED} more are invalid")
    return "; ".join(sentences)
