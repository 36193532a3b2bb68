"""A receiver of webhooks that keeps what it gets, and answers as a test says."""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.scripted_server import ScriptedServer, response, scripted_server

from clip_worker import WebhookEvent, verify_webhook

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OK = response(status="204 No Content")
BROKEN = response(status="500 Internal Server Error")
_LENGTH = re.compile(r"^content-length: (\d+)\r$", re.IGNORECASE | re.MULTILINE)


@dataclass
class Received:
    """A request that was received: its path, headers and body."""

    path: str
    headers: dict[str, str]
    body: bytes

    def event(self, *secrets: str) -> WebhookEvent:
        """Its event, verified as a receiver verifies it."""
        return verify_webhook(self.body, self.headers, secrets or SECRET)


@dataclass
class Receiver:
    """What was received, and how it is answered.

    Attributes:
        answer: Bytes that answer each request, once
        go: is set.
        received: The requests, in the order in which they came.
        server: Where it listens.
    """

    answer: bytes = OK
    go: threading.Event = field(default_factory=threading.Event)
    received: list[Received] = field(default_factory=list)
    server: ScriptedServer = field(default_factory=lambda: ScriptedServer(0))

    def url(self, path: str = "/hooks/clip?token=hidden") -> str:
        return self.server.url(path)

    def events(self, task_id: str) -> list[WebhookEvent]:
        """The events of a task, so far."""
        events = (each.event() for each in list(self.received))
        return [event for event in events if event.task_id == task_id]

    def script(self, head: str, connection: socket.socket) -> None:
        self.received.append(read(head, connection))
        self.go.wait(300)
        connection.sendall(self.answer)


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Receive until the block ends."""
    here = Receiver()
    here.go.set()
    with scripted_server(here.script) as here.server:
        try:
            yield here
        finally:
            here.go.set()


def read(head: str, connection: socket.socket) -> Received:
    """A request, of which the head was read."""
    lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
    [length] = _LENGTH.findall(head)
    body = b""
    while len(body) < int(length):
        body += connection.recv(65_536)
    return Received(head.split(" ")[1], {name: value for name, _, value in lines}, body)
