"""What a client would send, kept instead."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IMAGE = "https://example.org/cat.jpg"
LABELS = ["cat", "dog"]


class Post:
    """Stands for the publisher: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.priorities: list[int] = []

    def send(self, messages: Iterable[str], count: int, priority: int) -> Iterator[int]:
        for message in messages:
            self.sent.append(json.loads(message))
            self.priorities.append(priority)
            yield 1
        assert count <= len(self.sent)

    @property
    def tasks(self) -> list[str]:
        return [message["headers"]["task"] for message in self.sent]

    @property
    def arguments(self) -> list[dict[str, Any]]:
        return [json.loads(base64.b64decode(message["body"]))[1] for message in self.sent]
