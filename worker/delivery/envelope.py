"""A Celery message, read: protocol 2 as kombu writes it on Redis.

Only what the batch path needs is read; whatever it can't serve is left to Celery
(`Envelope.is_plain`). See https://docs.celeryq.dev/en/stable/internals/protocol.html.
"""

from __future__ import annotations

from binascii import a2b_base64
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic_core import from_json


class UnreadableMessageError(ValueError):
    """The bytes are no message of kombu's."""


class Arguments(NamedTuple):
    """The body of a message: the task's args and kwargs, and what Celery is to do afterwards."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: dict[str, Any]


class Envelope(NamedTuple):
    """One message.

    Attributes:
        id: Celery's task id; empty where the message has none.
        task: Name of the task; empty likewise.
        headers: Celery's task headers.
        fields: The whole of kombu's message: body, content-type, properties …
    """

    id: str
    task: str
    headers: dict[str, Any]
    fields: dict[str, Any]

    @classmethod
    def decode(cls, message: bytes) -> Envelope:
        """Read a message as it stood in the queue.

        Raises:
            UnreadableMessageError: It is no JSON object with a body.
        """
        try:
            fields = from_json(message)
            headers = fields.get("headers") or {}
            fields["body"], fields["properties"]["delivery_tag"]  # that they are there
            task_id, task = headers.get("id"), headers.get("task")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableMessageError(f"{message[:200]!r} is no message of kombu's") from error
        return cls(
            task_id if isinstance(task_id, str) else "",
            task if isinstance(task, str) else "",
            headers,
            fields,
        )

    @property
    def is_plain(self) -> bool:
        """Whether it asks for nothing but to run the task once and store the result."""
        if not self.id or self.fields.get("content-type") != "application/json":
            return False
        asks = self.headers.get
        special = asks("eta") or asks("compression") or asks("stamped_headers") or asks("stamps")
        return not special and not any(asks("timelimit") or ())

    def arguments(self) -> Arguments:
        """The task's args, its kwargs, and its callbacks.

        Raises:
            UnreadableMessageError: The body is none of protocol 2.
        """
        try:
            body = self.fields["body"]
            if self.fields["properties"].get("body_encoding") == "base64":
                body = a2b_base64(body)
            args, kwargs, embed = from_json(body)
            return Arguments(list(args), dict(kwargs), dict(embed or {}))
        except (ValueError, TypeError) as error:
            raise UnreadableMessageError(f"the body of task {self.id} is unreadable") from error

    def expires(self) -> float | None:
        """Unix time in seconds after which the task must not run, if it has one.

        Raises:
            UnreadableMessageError: It is no ISO 8601 time.
        """
        text = self.headers.get("expires")
        if not text:
            return None
        try:
            time = datetime.fromisoformat(text)
        except (ValueError, TypeError) as error:
            raise UnreadableMessageError(f"expires is {text!r}, no ISO 8601 time") from error
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
