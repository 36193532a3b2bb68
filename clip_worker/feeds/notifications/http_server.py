"""A small HTTP server that takes POSTs on one path."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MOST_BODY_BYTES = 1024 * 1024  # SNS and Pub/Sub send less
MOST_CONNECTIONS = 64  # beyond that a new one takes the place of the oldest
LIMIT_S = 10.0  # without a byte

# Header fields by their names in lower case, the query's token, and the body; None for the body
# asks whether it is to be read.
Accept = Callable[[Mapping[str, str], str, bytes | None], HTTPStatus]


class PostServer(ThreadingHTTPServer):
    """Answers POSTs on a path as a function decides; its socket is open when it is made.

    Args:
        address: Host and port to listen on.
        path: The path.
        accept: Called with a request's head, and once more with its body if that was `CONTINUE`.

    Raises:
        OSError: The port is taken, or can't be opened.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], path: str, accept: Accept) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.path = path
        self.accept = accept
        self._connections: dict[Any, None] = {}  # the oldest first
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread of its own."""
        self._connections[request] = None
        if len(self._connections) > MOST_CONNECTIONS:
            with contextlib.suppress(OSError, StopIteration):
                next(iter(self._connections)).shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that are lost."""


class _Handler(BaseHTTPRequestHandler):
    timeout = LIMIT_S
    server: PostServer
    server_version = "clip-worker"
    sys_version = ""

    def do_POST(self) -> None:
        """Take a notification."""
        url = urlsplit(self.path)
        if url.path != self.server.path:
            return self._answer(HTTPStatus.NOT_FOUND)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self._answer(HTTPStatus.LENGTH_REQUIRED)
        if len(length) > 9 or int(length) > MOST_BODY_BYTES:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        token = parse_qs(url.query).get("token", [""])[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.accept(headers, token, None)
        if status is HTTPStatus.CONTINUE:
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                return None  # it was cut off
            status = self.server.accept(headers, token, body)
        return self._answer(status)

    def do_HEAD(self) -> None:
        """Tell MinIO, which asks, that somebody is there."""
        self._answer(HTTPStatus.OK)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: URLs may have the secret."""
