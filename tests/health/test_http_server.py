"""The HTTP server of the metrics port, against clients that are slow, wrong or many."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support.ports import free_port

from worker.health.http_server import MOST_CONNECTIONS, MOST_REQUEST_BYTES, Answer, HttpServer

FAR_S = 30.0  # a limit that no test may reach
LARGE = b"x" * 20_000_000


def broken() -> Answer:
    raise ValueError("no metrics")


@contextmanager
def serving(limit_s: float = FAR_S, **slow: threading.Event) -> Iterator[int]:
    """The port of a server; a path named like an argument waits for that event."""

    def wait(event: threading.Event) -> Answer:
        event.wait(FAR_S)
        return Answer(200, b"late", "text/plain")

    port = free_port()
    slow_routes = {f"/{name}": lambda event=event: wait(event) for name, event in slow.items()}
    server = HttpServer(
        "127.0.0.1",
        port,
        {
            "/healthz": lambda: Answer(200, b'{"state": "ready"}'),
            "/large": lambda: Answer(200, LARGE),
        },
        slow_routes | {"/broken": broken},
        limit_s,
    )
    server.start()
    try:
        yield port
    finally:
        for event in slow.values():
            event.set()
        server.stop()


def ask(port: int, path: str = "/healthz", method: str = "GET") -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=FAR_S)
    connection.request(method, path)
    response = connection.getresponse()
    body, kind = response.read(), response.getheader("Content-Type")
    connection.close()
    return response.status, body, kind


def send(port: int, data: bytes) -> bytes:
    """All that comes back."""
    with socket.create_connection(("127.0.0.1", port), FAR_S) as connection:
        connection.sendall(data)
        return rest(connection)


def rest(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection, in order or not."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 20):
            received += part
    return bytes(received)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), FAR_S)


def test_a_known_path_is_answered_with_or_without_a_query():
    with serving() as port:
        assert ask(port) == (200, b'{"state": "ready"}', "application/json")
        assert ask(port, "/healthz?verbose=1")[0] == 200


def test_head_has_the_length_and_no_body():
    with serving() as port:
        answer = send(port, b"HEAD /healthz HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 18\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/", "/healthz/", "/../etc/passwd", "/%2e%2e/etc/passwd", "//x"])
def test_other_paths_are_not_found(path):
    with serving() as port:
        assert ask(port, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(method):
    with serving() as port:
        assert ask(port, method=method)[0] == 405


@pytest.mark.parametrize("request_", [b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n"])
def test_what_is_not_http_is_a_bad_request(request_):
    with serving() as port:
        assert send(port, request_).startswith(b"HTTP/1.1 400 ")


def test_endless_headers_are_refused():
    with serving() as port:
        answer = send(port, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * MOST_REQUEST_BYTES * 2)

    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_silent_client_is_cut_off_and_holds_nobody_up():
    with serving(limit_s=0.5) as port, connected(port) as silent:
        silent.sendall(b"GET /healthz HTTP/1.1\r\n")

        assert ask(port)[0] == 200
        assert rest(silent) == b""


def test_a_client_that_does_not_read_is_cut_off_and_holds_nobody_up():
    with serving(limit_s=0.5) as port, connected(port) as deaf:
        deaf.sendall(b"GET /large HTTP/1.1\r\n\r\n")

        assert ask(port)[0] == 200
        time.sleep(1.0)  # longer than a connection gets
        assert len(rest(deaf)) < len(LARGE)


def test_of_too_many_connections_the_oldest_is_dropped_so_that_a_probe_is_answered():
    with serving() as port, ExitStack() as stack:
        idle = [stack.enter_context(connected(port)) for _ in range(MOST_CONNECTIONS + 5)]

        assert ask(port)[0] == 200
        assert rest(idle[0]) == b""


def test_a_probe_is_answered_while_scrapes_hang():
    event = threading.Event()
    with serving(metrics=event) as port:
        scrapes = [threading.Thread(target=ask, args=(port, "/metrics")) for _ in range(4)]
        for scrape in scrapes:
            scrape.start()
        assert ask(port)[0] == 200
        assert all(scrape.is_alive() for scrape in scrapes)
        event.set()
        for scrape in scrapes:
            scrape.join(FAR_S)


def test_a_route_that_fails_is_an_error_of_the_server_and_logged(caplog):
    with serving() as port:
        assert ask(port, "/broken")[:2] == (500, b"Internal Server Error\n")
        assert ask(port)[0] == 200

    assert "Can't answer /broken" in caplog.text


def test_a_taken_port_is_an_error_of_the_start_and_a_stopped_server_frees_it():
    with serving() as port, pytest.raises(OSError, match="in use"):
        HttpServer("127.0.0.1", port, {}, {}).start()
    again = HttpServer("127.0.0.1", port, {}, {})
    again.start()
    again.stop()
