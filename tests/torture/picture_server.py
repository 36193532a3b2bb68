"""A web server that keeps the first two requests for each picture waiting until they time out."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping

from support.scripted_server import ScriptedServer, response, scripted_server

TIMEOUTS = 2  # requests for a picture before one is answered


@contextlib.contextmanager
def picture_server(pictures: Mapping[str, bytes]) -> Iterator[ScriptedServer]:
    """Serve `pictures`, by path; it may still grow."""
    asked: Counter[str] = Counter()
    lock = threading.Lock()

    def script(head: str, connection: socket.socket) -> None:
        path = head.split(" ")[1]
        with lock:
            asked[path] += 1
            waits = asked[path] <= TIMEOUTS
        if waits:
            connection.recv(1)  # the client gives up first
        else:
            connection.sendall(response(pictures[path], Content_Type="image/jpeg"))

    with scripted_server(script) as server:
        yield server
