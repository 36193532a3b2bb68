"""A TCP server on loopback whose every answer a test writes itself, byte by byte."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    import ssl

Script = Callable[[str, "socket.socket"], None]


@dataclass
class ScriptedServer:
    """Where the server listens and what it was asked.

    Attributes:
        port: The port on 127.0.0.1.
        heads: The head of each request, request line first.
        names: The name each TLS client asked for (SNI).
    """

    port: int
    heads: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [head.split(" ")[1] for head in self.heads]

    def url(self, path: str = "/", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextlib.contextmanager
def scripted_server(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serve until the block ends; `script(head, connection)` answers each request."""
    server: ScriptedServer

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # A client that hangs up is what many a test is about.
            with contextlib.suppress(OSError):
                self._answer()

        def _answer(self) -> None:
            self.request.settimeout(30)
            connection = tls.wrap_socket(self.request, server_side=True) if tls else self.request
            with connection:
                head = _head(connection)
                server.heads.append(head)
                script(head, connection)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as tcp:
        server = ScriptedServer(tcp.server_address[1])
        if tls:
            tls.sni_callback = lambda _socket, name, _context: server.names.append(name)
        thread = threading.Thread(target=tcp.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            tcp.shutdown()
            thread.join()


def response(
    body: bytes = b"", status: str = "200 OK", *, length: int | None = None, **headers: str
) -> bytes:
    """A whole HTTP response; underscores in header names become hyphens.

    It says that the connection ends with it: a client that used it again would race the server's
    closing it, and be reset on a busy machine.
    """
    fields: dict[str, Any] = {
        "Content-Length": len(body) if length is None else length,
        "Connection": "close",
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body


def answering(*answers: bytes) -> Script:
    """A script that sends the answers in turn, the last one ever after."""
    left = list(answers)

    def script(_head: str, connection: socket.socket) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return script


@dataclass(frozen=True)
class HeldSite:
    """A server whose every answer waits for `go`.

    Attributes:
        url: Makes the URL of a path.
    """

    url: Callable[..., str]
    go: threading.Event


@contextlib.contextmanager
def held_site(body: bytes) -> Iterator[HeldSite]:
    """Answer each request with `body`, once `go` is set; the block's end sets it."""
    go = threading.Event()

    def script(_head: str, connection: socket.socket) -> None:
        go.wait(300)
        connection.sendall(response(body))

    with scripted_server(script) as server:
        try:
            yield HeldSite(server.url, go)
        finally:
            go.set()


def _head(connection: socket.socket) -> str:
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            raise ConnectionAbortedError
        head += piece
    return head.decode("latin-1")
