"""The messages of a client, kept instead of sent."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clip_worker.client.push_plan import Message

IMAGE = "https://example.org/cat.jpg"
LABELS = ["cat", "dog"]


class SentMessages(list[dict[str, Any]]):
    """The messages, in place of a `Publisher`.

    Attributes:
        fails_after: Raises `error` once so many were sent.
        error: None if all are sent.
        markers: Of the messages.
    """

    fails_after = 0
    error: Exception | None = None

    def __init__(self) -> None:
        super().__init__()
        self.markers: list[str] = []

    def send(
        self, messages: Iterable[Message], count: int, priority: int, tenant: str | None
    ) -> Iterator[int]:
        for message in messages:
            if self.error and len(self) == self.fails_after:
                raise self.error
            self.append(json.loads(message.text))
            self.markers.append(message.marker)
            assert self[-1]["properties"]["priority"] == priority
            assert self[-1]["headers"].get("clip_tenant") == tenant
            yield 1

    @property
    def tasks(self) -> list[str]:
        return [message["headers"]["task"] for message in self]

    @property
    def ids(self) -> list[str]:
        return [message["headers"]["id"] for message in self]

    @property
    def arguments(self) -> list[dict[str, Any]]:
        return [json.loads(base64.b64decode(message["body"]))[1] for message in self]


def read_message(text: str | bytes) -> tuple[str, dict[str, Any]]:
    """The id and the keyword arguments of a message's task."""
    message = json.loads(text)
    return message["headers"]["id"], json.loads(base64.b64decode(message["body"]))[1]
