"""What a message's headers and properties may hold, checked before Celery or we rely on any of it.

Fields and types are those of Celery's task message protocol, version 2
(https://docs.celeryq.dev/en/stable/internals/protocol.html); unknown headers pass. Everything that
Celery's own `Request` reads without a check of its own is checked here, since what it raises ends
the worker. The checks are plain functions, since every message passes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from worker.contract.text import NO_TEXT, is_text
from worker.quoting import quote

MOST_ID_CHARS = 255
MOST_TOLD = 3  # wrong fields that an error names

# From a value that is not None to what to give instead; None if it is fine.
Check: TypeAlias = Callable[[Any], str | None]


def parse_time(text: str) -> datetime:
    """An ISO 8601 time; one without a zone is in UTC.

    Raises:
        ValueError: It is none, or outside of the years that a Unix time can tell.
    """
    time = datetime.fromisoformat(text)
    zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        zoned.astimezone().timestamp()
    except OverflowError as error:
        raise ValueError("the time is out of range") from error
    return zoned


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "give a text or null"


def _id(value: Any) -> str | None:
    if not isinstance(value, str):
        return "give a text or null"
    return None if is_text(value) else f"it {NO_TEXT}"


def _time(value: Any) -> str | None:
    try:
        if value != "":
            parse_time(value)
    except (TypeError, ValueError):
        return "give an ISO 8601 time or null"
    return None


def _integer(value: Any) -> str | None:
    return None if type(value) is int else "give a whole number or null"


def _count(value: Any) -> str | None:
    return None if type(value) is int and value >= 0 else "give a whole number from 0 on, or null"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "give true, false or null"


def _is_seconds(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < math.inf)


def _time_limits(value: Any) -> str | None:
    is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_seconds, value))
    return None if is_pair else "give two numbers of seconds, or null"


def _texts(value: Any) -> str | None:
    are_texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return None if are_texts else "give a list of texts or null"


def _object(value: Any) -> str | None:
    return None if isinstance(value, dict) else "give an object or null"


def _body_encoding(value: Any) -> str | None:
    give = "give 'base64', or leave it out where the body is JSON text"
    return None if isinstance(value, str) else give


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
}
_PROPERTIES: Mapping[str, Check] = {
    "correlation_id": _text,
    "reply_to": _text,
    "body_encoding": _body_encoding,
    "priority": _integer,
    "delivery_info": _delivery_info,
}
_NAMES = {
    "id": f"give a text of 1 to {MOST_ID_CHARS} characters",
    "task": "give the task's name",
}


def fault_of_headers(headers: Mapping[str, Any]) -> str | None:
    """What is wrong with the headers, in words; None if nothing is.

    >>> fault_of_headers({"id": "1", "task": "t", "timelimit": "soon"})
    "its header 'timelimit' is 'soon': give two numbers of seconds, or null"
    """
    faults = {name: give for name, give in _NAMES.items() if not _is_name(headers.get(name))}
    faults |= _faults(headers, _HEADERS)
    return _told(faults, headers, "header") if faults else None


def fault_of_properties(properties: Mapping[str, Any]) -> str | None:
    """What is wrong with the properties, in words; None if nothing is."""
    faults = _faults(properties, _PROPERTIES)
    return _told(faults, properties, "property") if faults else None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= MOST_ID_CHARS and is_text(value)


def _faults(fields: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, str]:
    """What to give instead of each field that is wrong."""
    faults = {}
    for name, value in fields.items():
        if value is not None and (check := checks.get(name)) and (remedy := check(value)):
            faults[name] = remedy
    return faults


def _told(faults: Mapping[str, str], fields: Mapping[str, Any], kind: str) -> str:
    sentences = []
    for name, remedy in list(faults.items())[:MOST_TOLD]:
        value = f"is {quote(fields[name])}" if name in fields else "is missing"
        sentences.append(f"its {kind} {name!r} {value}: {remedy}")
    if len(faults) > MOST_TOLD:
        sentences.append(f"{len(faults) - MOST_TOLD} more are wrong")
    return "; ".join(sentences)
