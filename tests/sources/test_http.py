"""Fetching from web servers, sound and broken."""

from __future__ import annotations

import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3.exceptions
from support.failure import failure_of
from support.fetching import TO_LOOPBACK, fetcher
from support.scripted_server import answering, response, scripted_server

from clip_worker.errors import ImageUnavailableError, TemporaryError
from clip_worker.version import __version__
from worker.sources.http_errors import translated_errors

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_body_is_fetched():
    with scripted_server(answering(response(b"picture"))) as server:
        assert fetcher().fetch(server.url("/cat.jpg?size=1")) == b"picture"

        [head] = server.heads
        assert head.startswith("GET /cat.jpg?size=1 HTTP/1.1\r\n")
        for header in (
            f"Host: 127.0.0.1:{server.port}",
            f"User-Agent: clip-worker/{__version__}",
            "Accept-Encoding: identity",
        ):
            assert f"\r\n{header}\r\n" in head
        assert head.lower().count("\r\nhost:") == 1


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + b"4\r\npict\r\n3\r\nure\r\n0\r\n\r\n",
        CHUNKED + b"00003\r\npic\r\n4 ; name=value\r\nture\r\n0;last\r\nX: y\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\npicture",
        response(b"picture and more", length=7),
    ],
    ids=["chunks", "all that RFC 9112 allows", "until the connection closes", "declared length"],
)
def test_a_body_is_fetched_however_its_length_is_declared(answer):
    with scripted_server(answering(answer)) as server:
        assert fetcher(max_bytes=7).fetch(server.url()) == b"picture"


def test_the_host_header_has_the_name_while_the_connection_goes_to_the_address():
    with scripted_server(answering(response(b"picture"))) as server:
        fetcher(TO_LOOPBACK).fetch(server.url(host="pictures.example"))

        assert f"\r\nHost: pictures.example:{server.port}\r\n" in server.heads[0]


def test_the_next_address_is_tried_if_one_does_not_answer():
    # given: nothing listens on the port at 127.0.0.2
    addresses = ["127.0.0.2", "127.0.0.1"]
    with scripted_server(answering(response(b"picture"))) as server:
        two = fetcher({"resolver": lambda _host, _port: addresses})

        assert two.fetch(server.url(host="pictures.example")) == b"picture"


def test_proxies_in_the_environment_are_not_used(monkeypatch):
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
    ("statuses", "error"),
    [
        (["204 No Content", "206 Partial Content", "304 Not Modified"], ImageUnavailableError),
        (["302 Found without Location", "400 Bad Request"], ImageUnavailableError),
        (["403 Forbidden", "404 Not Found", "410 Gone"], ImageUnavailableError),
        (["408 Request Timeout", "425 Too Early", "429 Too Many Requests"], TemporaryError),
        (["500 Internal Server Error", "503 Service Unavailable"], TemporaryError),
    ],
)
def test_a_status_without_an_image_becomes_a_code(statuses, error):
    for status in statuses:
        with scripted_server(answering(response(status=status))) as server:
            failure = failure_of(fetcher().fetch, server.url())

        assert (type(failure), failure.code) == (error, f"FETCH_{status[:3]}")


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
def test_a_broken_answer_or_none_is_a_temporary_failure(answer):
    with scripted_server(answering(answer)) as server:
        broken = failure_of(fetcher().fetch, server.url())
    refused = failure_of(fetcher().fetch, server.url())

    for failure in (broken, refused):
        assert (type(failure), failure.code) == (TemporaryError, "FETCH_CONNECTION")
        assert failure.__cause__ is not None


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
    with pytest.raises(error) as caught, translated_errors("http://pictures.example/"):
        raise lower

    found = caught.value
    assert (type(found), found.code, found.__cause__) == (error, code, lower)


def test_our_own_errors_pass_through_unchanged():
    ours = ImageUnavailableError("gone", "FETCH_410")

    with pytest.raises(ImageUnavailableError) as caught, translated_errors("http://a.example/"):
        raise ours

    assert caught.value is ours
