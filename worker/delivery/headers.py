"""What a message's headers and properties may hold, checked before Celery or we rely on any of it.

Fields and types are those of Celery's task message protocol, version 2
(https://docs.celeryq.dev/en/stable/internals/protocol.html); unknown headers pass. Everything that
Celery's own `Request` reads without a check of its own is checked here, since what it raises ends
the worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from worker.contract.text import NO_TEXT, is_text
from worker.quoting import quote

MOST_ID_CHARS = 255
MOST_TOLD = 3  # wrong fields that an error names
REMEDIES = {
    "id": f"give a text of 1 to {MOST_ID_CHARS} characters",
    "task": "give the task's name",
    "eta": "give an ISO 8601 time or null",
    "expires": "give an ISO 8601 time or null",
    "timelimit": "give two numbers of seconds, or null",
    "body_encoding": "give 'base64', or leave it out where the body is JSON text",
    "delivery_info": "give an object or null",
}


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


def _check_time(text: str) -> str:
    if text:
        parse_time(text)
    return text


def _check_text(text: str) -> str:
    if not is_text(text):
        raise ValueError(f"it {NO_TEXT}")
    return text


Text: TypeAlias = StrictStr | None
Id: TypeAlias = Annotated[StrictStr, AfterValidator(_check_text)] | None
Name: TypeAlias = Annotated[StrictStr, Field(min_length=1, max_length=MOST_ID_CHARS)]
Time: TypeAlias = Annotated[StrictStr, AfterValidator(_check_time)] | None
Seconds: TypeAlias = Annotated[StrictInt | StrictFloat, Field(ge=0, allow_inf_nan=False)] | None
Count: TypeAlias = Annotated[StrictInt, Field(ge=0)] | None


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Headers(_Fields):
    id: Name
    task: Name
    root_id: Id = None
    parent_id: Id = None
    group: Id = None
    group_index: StrictInt | None = None
    shadow: Text = None
    origin: Text = None
    argsrepr: Text = None
    kwargsrepr: Text = None
    eta: Time = None
    expires: Time = None
    retries: Count = None
    replaced_task_nesting: Count = None
    timelimit: Annotated[list[Seconds], Field(min_length=2, max_length=2)] | None = None
    ignore_result: StrictBool | None = None
    compression: Text = None
    stamped_headers: list[StrictStr] | None = None
    stamps: dict[str, Any] | None = None


class _DeliveryInfo(_Fields):
    exchange: Text = None
    routing_key: Text = None


class _Properties(_Fields):
    correlation_id: Text = None
    reply_to: Text = None
    body_encoding: Text = None
    priority: StrictInt | None = None
    delivery_info: _DeliveryInfo | None = None


def fault_of_headers(headers: Mapping[str, Any]) -> str | None:
    """What is wrong with the headers, in words; None if nothing is.

    >>> fault_of_headers({"id": "1", "task": "t", "timelimit": "soon"})
    "its header 'timelimit' is 'soon': give two numbers of seconds, or null"
    """
    return _fault(_Headers, headers, "header")


def fault_of_properties(properties: Mapping[str, Any]) -> str | None:
    """What is wrong with the properties, in words; None if nothing is."""
    return _fault(_Properties, properties, "property")


def _fault(model: type[BaseModel], fields: Mapping[str, Any], kind: str) -> str | None:
    try:
        model.model_validate(fields)
    except ValidationError as error:
        return _told(error.errors(include_url=False), fields, kind)
    return None


def _told(faults: Sequence[Mapping[str, Any]], fields: Mapping[str, Any], kind: str) -> str:
    names = list(dict.fromkeys(str(fault["loc"][0]) for fault in faults))
    messages = {str(fault["loc"][0]): str(fault["msg"]) for fault in reversed(faults)}
    sentences = []
    for name in names[:MOST_TOLD]:
        message = messages[name].removeprefix("Value error, ")
        remedy = REMEDIES.get(name) or message[:1].lower() + message[1:]
        value = f"is {quote(fields[name])}" if name in fields else "is missing"
        sentences.append(f"its {kind} {name!r} {value}: {remedy}")
    if len(names) > MOST_TOLD:
        sentences.append(f"{len(names) - MOST_TOLD} more are wrong")
    return "; ".join(sentences)
