"""Fetching from well-meaning web servers, and from ones that are merely broken."""

from __future__ import annotations

import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3.exceptions
from support.fetching import LOOPBACK, failure_of, fetcher
from support.scripted_server import answering, response, scripted_server

from worker.errors import ClipWorkerError, ImageUnavailableError, TemporaryError
from worker.sources import Fetcher
from worker.sources.http_errors import translated_errors
from worker.version import __version__


def test_a_body_is_fetched():
    with scripted_server(answering(response(b"picture"))) as server:
        assert fetcher().fetch(server.url("/cat.jpg?size=1")) == b"picture"

        head = server.heads[0]
        assert head.startswith("GET /cat.jpg?size=1 HTTP/1.1\r\n")
        assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in head
        assert f"\r\nUser-Agent: clip-worker/{__version__}\r\n" in head
        assert "\r\nAccept-Encoding: identity\r\n" in head
        assert head.lower().count("\r\nhost:") == 1


def test_a_chunked_body_is_fetched():
    body = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npict\r\n3\r\nure\r\n0\r\n\r\n"
    )
    with scripted_server(answering(body)) as server:
        assert fetcher().fetch(server.url()) == b"picture"


def test_a_body_that_ends_with_the_connection_is_fetched():
    with scripted_server(answering(b"HTTP/1.0 200 OK\r\n\r\npicture")) as server:
        assert fetcher().fetch(server.url()) == b"picture"


def test_a_body_of_exactly_the_cap_is_fetched():
    with scripted_server(answering(response(100 * b"x"))) as server:
        assert len(fetcher(max_bytes=100).fetch(server.url())) == 100


def test_the_host_header_carries_the_name_while_the_connection_goes_to_the_address():
    with scripted_server(answering(response(b"picture"))) as server:
        named = Fetcher(LOOPBACK, resolver=lambda _host, _port: ["127.0.0.1"])

        named.fetch(server.url(host="pictures.example"))

        assert f"\r\nHost: pictures.example:{server.port}\r\n" in server.heads[0]


def test_the_next_address_is_tried_when_one_does_not_answer():
    # given: nothing listens on the port at 127.0.0.2
    with scripted_server(answering(response(b"picture"))) as server:
        two = Fetcher(LOOPBACK, resolver=lambda _host, _port: ["127.0.0.2", "127.0.0.1"])

        assert two.fetch(server.url(host="pictures.example")) == b"picture"


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    with scripted_server(answering(response(b"picture"))) as server:
        assert fetcher().fetch(server.url()) == b"picture"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/there?a=b", "there?a=b", "//127.0.0.1:{port}/there?a=b"])
def test_a_redirect_is_followed(status, location):
    def script(head, connection):
        if "/there?a=b" in head:
            connection.sendall(response(b"picture"))
        else:
            target = location.format(port=server.port)
            connection.sendall(response(status=f"{status} Moved", Location=target))

    with scripted_server(script) as server:
        assert fetcher().fetch(server.url("/here")) == b"picture"
        assert server.paths == ["/here", "/there?a=b"]


def test_a_redirect_to_an_unescaped_path_is_followed_escaped():
    moved = response(status="302 Found", Location="/straße 1".encode().decode("latin-1"))
    with scripted_server(answering(moved, response(b"picture"))) as server:
        fetcher().fetch(server.url())

        assert server.paths[1] == "/stra%C3%9Fe%201"


def test_many_threads_may_share_a_fetcher():
    def script(head, connection):
        connection.sendall(response(head.split()[1].encode() * 1000))

    with scripted_server(script) as server, ThreadPoolExecutor(16) as pool:
        shared = fetcher()
        paths = [f"/{number}" for number in range(64)]

        bodies = list(pool.map(lambda path: shared.fetch(server.url(path)), paths))

        assert bodies == [path.encode() * 1000 for path in paths]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("204 No Content", ImageUnavailableError),
        ("206 Partial Content", ImageUnavailableError),
        ("304 Not Modified", ImageUnavailableError),
        ("302 Found without Location", ImageUnavailableError),
        ("400 Bad Request", ImageUnavailableError),
        ("403 Forbidden", ImageUnavailableError),
        ("404 Not Found", ImageUnavailableError),
        ("408 Request Timeout", TemporaryError),
        ("410 Gone", ImageUnavailableError),
        ("425 Too Early", TemporaryError),
        ("429 Too Many Requests", TemporaryError),
        ("500 Internal Server Error", TemporaryError),
        ("503 Service Unavailable", TemporaryError),
    ],
)
def test_a_status_that_brings_no_picture_becomes_its_code(status, error):
    with scripted_server(answering(response(status=status))) as server:
        failure = failure_of(fetcher().fetch, server.url())

    assert type(failure) is error
    assert failure.code == f"FETCH_{status[:3]}"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\x00\xff\r\n\r\n",
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 5\r\n\r\nwhich",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 5\r\n\r\nwhich",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\npicture",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + 200 * b"X: y\r\n" + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + 70_000 * b"y" + b"\r\n\r\n",
    ],
)
def test_a_broken_answer_is_a_temporary_failure(answer):
    with scripted_server(answering(answer)) as server:
        failure = failure_of(fetcher().fetch, server.url())

    assert type(failure) is TemporaryError
    assert failure.code == "FETCH_CONNECTION"
    assert failure.__cause__ is not None


def test_a_refused_connection_is_a_temporary_failure():
    with scripted_server(answering(b"")) as server:
        url = server.url()

    assert failure_of(fetcher().fetch, url).code == "FETCH_CONNECTION"


@pytest.mark.parametrize(
    ("lower", "error", "code"),
    [
        (TimeoutError("handshake"), TemporaryError, "FETCH_TIMEOUT"),
        (urllib3.exceptions.ConnectTimeoutError(), TemporaryError, "FETCH_TIMEOUT"),
        (urllib3.exceptions.ReadTimeoutError(None, "/", ""), TemporaryError, "FETCH_TIMEOUT"),
        (urllib3.exceptions.NewConnectionError(None, ""), TemporaryError, "FETCH_CONNECTION"),
        (urllib3.exceptions.ProtocolError("broken"), TemporaryError, "FETCH_CONNECTION"),
        (urllib3.exceptions.SSLError("broken"), TemporaryError, "FETCH_CONNECTION"),
        (urllib3.exceptions.InvalidHeader("broken"), TemporaryError, "FETCH_CONNECTION"),
        (http.client.BadStatusLine("broken"), TemporaryError, "FETCH_CONNECTION"),
        (ConnectionResetError("reset"), TemporaryError, "FETCH_CONNECTION"),
        (ssl.SSLError("broken"), TemporaryError, "FETCH_CONNECTION"),
    ],
)
def test_every_lower_error_is_translated(lower, error, code):
    with pytest.raises(ClipWorkerError) as caught, translated_errors("http://pictures.example/"):
        raise lower

    assert type(caught.value) is error
    assert caught.value.code == code
    assert caught.value.__cause__ is lower


def test_errors_of_our_own_pass_through_unchanged():
    ours = ImageUnavailableError("gone", "FETCH_410")

    with pytest.raises(ImageUnavailableError) as caught, translated_errors("http://a.example/"):
        raise ours

    assert caught.value is ours
