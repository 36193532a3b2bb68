"""Reads and validates Celery messages.

It reads protocol 2 as kombu writes it to Redis, and converts the older protocol 1 and its hybrid,
whose body is an object, to protocol 2. The error for a message that can't be read has the task's id
if that could be read, so that the caller gets the error as the task's result.
See https://docs.celeryq.dev/en/stable/internals/protocol.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from clip_worker.contract.message_body import (
    JSON,
    Arguments,
    BodyError,
    arguments_of,
    parse_body,
    read_body,
    write_body,
)
from clip_worker.contract.message_headers import (
    MOST_ID_CHARS,
    fault_of_headers,
    fault_of_properties,
    parse_time,
)
from clip_worker.contract.signatures import SignatureError
from clip_worker.contract.text import is_text, read_json
from clip_worker.quoting import quote

Verify: TypeAlias = Callable[[Mapping[str, Any], bytes], dict[str, Any]]

NO_ARGUMENTS = Arguments([], {}, {})
# Headers of protocol 2 that are in the body of protocol 1.
_HEADERS_IN_BODY = (
    *("id", "task", "root_id", "parent_id", "group", "shadow", "eta", "expires", "retries"),
    *("timelimit", "argsrepr", "kwargsrepr", "origin"),
)
_EMBEDDED_IN_BODY = ("callbacks", "errbacks", "chord")


class Envelope(NamedTuple):
    """A message.

    Attributes:
        id: Celery's task id; empty if unknown.
        task: Name of the task; empty if unknown.
        headers: Celery's task headers.
        properties: kombu's properties.
        arguments: The task's arguments, from the body.
        body: The body as JSON, decoded and decompressed.
    """

    id: str = ""
    task: str = ""
    headers: dict[str, Any] = {}  # noqa: RUF012  # nobody writes to it
    properties: dict[str, Any] = {}  # noqa: RUF012  # likewise
    arguments: Arguments = NO_ARGUMENTS
    body: bytes = b""

    @classmethod
    def decode(cls, message: bytes, verify: Verify | None = None) -> Envelope:
        """Decode a message from the queue.

        Args:
            message: The message.
            verify: Given the headers and the body as JSON, returns the headers that are authentic,
                or raises `SignatureError`; None to trust what the message says.

        Raises:
            UnreadableMessageError: It is not a Celery message, or a field is invalid; of the class
                `UnauthenticMessageError` if its signature is not valid.
        """
        fields = _fields(message)
        headers, properties = _objects(fields)
        try:
            return _checked(fields, headers, properties, verify)
        except SignatureError as error:
            known = Envelope(_name(headers.get("id")), _name(headers.get("task")))
            raise UnauthenticMessageError(str(error), known) from error
        except BodyError as error:
            raise UnreadableMessageError(str(error), _known(fields, headers, properties)) from error

    @property
    def is_plain(self) -> bool:
        """Whether it only asks to run the task once and store the result."""
        get = self.headers.get
        special = get("eta") or get("stamped_headers") or get("stamps")
        return not (special or any(get("timelimit") or ()) or any(self.arguments.embed.values()))

    def expires(self) -> float | None:
        """Unix time in seconds after which the task must not run; None if it does not expire."""
        text = self.headers.get("expires")
        return parse_time(text).timestamp() if text else None


class UnreadableMessageError(ValueError):
    """A message can't be read.

    Args:
        reason: What is wrong with it, to complete a sentence about "the message".
        envelope: The parts that could be read.
    """

    def __init__(self, reason: str, envelope: Envelope = Envelope()) -> None:  # noqa: B008  # frozen
        super().__init__(reason)
        self.envelope = envelope


class UnauthenticMessageError(UnreadableMessageError):
    """A message is not signed, or not as it should be. Its id and task are what it claims."""


def _fields(message: bytes) -> dict[str, Any]:
    try:
        fields = read_json(message)
    except ValueError as error:
        raise UnreadableMessageError(f"it is not valid JSON ({error})") from error
    if not isinstance(fields, dict):
        raise UnreadableMessageError(f"it is {quote(fields)}: send a JSON object")
    return fields


def _objects(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Headers and properties; empty if missing."""
    headers, properties = fields.get("headers"), fields.get("properties")
    headers = {} if headers is None else headers
    properties = {} if properties is None else properties
    for name, part in (("headers", headers), ("properties", properties)):
        if not isinstance(part, dict):
            known = [each if isinstance(each, dict) else {} for each in (headers, properties)]
            raise UnreadableMessageError(
                f"its {name} are {quote(part)}: send an object", _known(fields, *known)
            )
    return headers, properties


def _checked(
    fields: Mapping[str, Any],
    headers: dict[str, Any],
    properties: dict[str, Any],
    verify: Verify | None,
) -> Envelope:
    if fault := fault_of_properties(properties):
        raise BodyError(fault)
    body = read_body(fields, headers, properties.get("body_encoding"))
    if verify is not None:
        headers = verify(headers, body)
        properties = {"priority": properties.get("priority")}
    value = parse_body(body)
    if isinstance(value, dict):
        headers, value = _as_protocol_2(headers, value)
        body = write_body(value)
    if fault := fault_of_headers(headers):
        raise BodyError(fault)
    arguments = arguments_of(value)
    return Envelope(headers["id"], headers["task"], headers, properties, arguments, body)


def _as_protocol_2(
    headers: Mapping[str, Any], body: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    """Convert headers and a body of protocol 1 to protocol 2."""
    moved = {name: body[name] for name in _HEADERS_IN_BODY if name in body}
    if "taskset" in body:
        moved["group"] = body["taskset"]
    embed = {name: body.get(name) for name in _EMBEDDED_IN_BODY}
    value = [body.get("args", []), body.get("kwargs", {}), embed]
    return moved | dict(headers), value


def _known(
    fields: Mapping[str, Any], headers: Mapping[str, Any], properties: Mapping[str, Any]
) -> Envelope:
    """The parts of an unreadable message that are valid: ids and names."""
    body: Mapping[str, Any] = {}
    if "id" not in headers:
        body = _body_of_protocol_1(fields, headers, properties)
    ids = (headers.get("id"), body.get("id"), properties.get("correlation_id"))
    tasks = (headers.get("task"), body.get("task"))
    group, parent = headers.get("group"), headers.get("parent_id")
    family = {"group": _name(group), "parent_id": _name(parent)}
    return Envelope(
        next(filter(None, map(_name, ids)), ""),
        next(filter(None, map(_name, tasks)), ""),
        {name: value for name, value in family.items() if value},
    )


def _body_of_protocol_1(
    fields: Mapping[str, Any], headers: Mapping[str, Any], properties: Mapping[str, Any]
) -> Mapping[str, Any]:
    try:
        encoding = properties.get("body_encoding")
        value = parse_body(read_body(dict(fields) | {"content-type": JSON}, headers, encoding))
    except (BodyError, TypeError):  # TypeError: an unhashable encoding or compression
        return {}
    return value if isinstance(value, dict) else {}


def _name(value: object) -> str:
    """A value as an id or a name; empty if it can't be one."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > MOST_ID_CHARS or not is_text(value):
        return ""
    return value
