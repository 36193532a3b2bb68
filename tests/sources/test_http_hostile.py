"""Fetching from servers, name servers and redirects that mean harm."""

from __future__ import annotations

import contextlib
import gzip
import random
import threading

import pytest
from support.failure import failure_of
from support.fake_clock import FakeClock
from support.fetching import fetcher
from support.scripted_server import answering, response, scripted_server

from clip_worker.errors import ClipWorkerError, ImageUnavailableError, TemporaryError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def failure(server, options=None, host="127.0.0.1", **limits: float):
    """The error that a fetch from the server ends with."""
    return failure_of(fetcher(options, **limits).fetch, server.url(host=host))


def endless(clock, opening, piece, seconds=0.0):
    """A script that sends `piece` for ever, each taking so many seconds."""

    def script(_head, connection):
        connection.sendall(opening)
        while True:
            clock.now_s += seconds
            connection.sendall(piece)

    return script


def test_a_resolver_is_asked_once_so_that_it_can_not_change_its_mind():
    # given: a name that is public when checked and private when asked again
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    with scripted_server(answering(response(b"picture"))) as server:
        once = fetcher({"resolver": lambda _host, _port: answers.pop(0)})

        assert once.fetch(server.url(host="rebind.example")) == b"picture"

    assert answers == [["169.254.169.254"]]


def test_a_name_that_is_rebound_before_a_redirect_is_checked_again():
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    with scripted_server(answering(response(status="302 Found", Location="/again"))) as server:
        options = {"resolver": lambda _host, _port: answers.pop(0)}
        code = failure(server, options, host="rebind.example").code

    assert code == "FETCH_FORBIDDEN_ADDRESS"


def test_a_host_with_one_forbidden_address_is_not_connected_to_at_all():
    with scripted_server(answering(response(b"picture"))) as server:
        options = {"resolver": lambda _host, _port: ["127.0.0.1", "10.0.0.1"]}

        assert failure(server, options, host="both.example").code == "FETCH_FORBIDDEN_ADDRESS"
        assert server.heads == []


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "FETCH_FORBIDDEN_ADDRESS"),
        ("http://[::ffff:169.254.169.254]/", "FETCH_FORBIDDEN_ADDRESS"),
        ("//10.0.0.1/", "FETCH_FORBIDDEN_ADDRESS"),
        ("http://2852039166/", "FETCH_BAD_REDIRECT"),
        ("http://user:pass@example.com/", "FETCH_BAD_REDIRECT"),
        ("file:///etc/passwd", "FETCH_BAD_REDIRECT"),
        ("data:,picture", "FETCH_BAD_REDIRECT"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "FETCH_BAD_REDIRECT"),
        ("http://[::1", "FETCH_BAD_REDIRECT"),
    ],
)
def test_a_redirect_out_of_bounds_is_refused(location, code):
    with scripted_server(answering(response(status="302 Found", Location=location))) as server:
        error = failure(server)

    assert (type(error), error.code) == (ImageUnavailableError, code)


def test_a_redirect_loop_ends_at_the_cap():
    with scripted_server(answering(response(status="302 Found", Location="/"))) as server:
        error = failure(server, max_redirects=3)

        assert error.code == "FETCH_TOO_MANY_REDIRECTS"
        assert len(server.heads) == 4


def test_redirects_share_one_deadline():
    # given: each hop takes 10 of 25 seconds
    clock = FakeClock()

    def script(_head, connection):
        clock.now_s += 10
        connection.sendall(response(status="302 Found", Location="/"))

    with scripted_server(script) as server:
        error = failure(server, {"clock": clock}, total_s=25)

        assert error.code == "FETCH_TIMEOUT"
        assert len(server.heads) == 3


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
        (CHUNKED, b"1\r\na\r\n"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
    ],
    ids=["headers", "continue", "length", "close", "chunks", "trailers"],
)
def test_a_slow_drip_is_cut_off_at_the_deadline(opening, piece):
    # given: a server that sends a little every second, for ever
    clock = FakeClock()
    with scripted_server(endless(clock, opening, piece, seconds=1.0)) as server:
        error = failure(server, {"clock": clock}, total_s=30)

    assert (type(error), error.code) == (TemporaryError, "FETCH_TIMEOUT")


def test_a_server_that_never_answers_is_cut_off():
    over = threading.Event()
    with scripted_server(lambda _head, _connection: over.wait(30)) as server:
        error = failure(server, total_s=0.2)
        over.set()

    assert error.code == "FETCH_TIMEOUT"


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 1000 * b"a"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 1000 * b"a"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", 1000 * b"a"),
        (CHUNKED, b"3e8\r\n" + 1000 * b"a" + b"\r\n"),
        (CHUNKED + b"fffffffff\r\n", 1000 * b"a"),
    ],
    ids=["close", "negative", "nonsense", "chunks", "one-chunk"],
)
def test_an_endless_body_is_cut_off_at_the_cap(opening, piece):
    with scripted_server(endless(FakeClock(), opening, piece)) as server:
        error = failure(server, max_bytes=100_000)

    assert (type(error), error.code) == (ImageUnavailableError, "FETCH_TOO_LARGE")
    assert "100000 bytes" in error.message


def test_an_endless_chunk_size_is_cut_off():
    with scripted_server(endless(FakeClock(), CHUNKED, 1000 * b"0")) as server:
        error = failure(server)

    assert error.code == "FETCH_CONNECTION"


@pytest.mark.parametrize(
    "size",
    [
        *(b"-1", b"-5", b"-0", b"-ffffffffffffffffffff", b"+5", b"0x5", b"5_0", b"", b";x", b"5 5"),
        *(b"zz", b"5\0", b"\xb2", b"\xff5", b"f" * 17, b"f" * 5000, b"5;" + b"x" * 70_000),
    ],
    ids=lambda size: ascii(size[:22]),
)
@pytest.mark.parametrize("before", [b"", b"7\r\npicture\r\n"], ids=["first", "second"])
def test_a_chunk_size_that_is_no_hexadecimal_number_breaks_the_fetch_off(size, before):
    answer = CHUNKED + before + size + b"\r\nhello\r\n0\r\n\r\n"
    with scripted_server(answering(answer)) as server:
        error = failure(server)

    assert (type(error), error.code) == (TemporaryError, "FETCH_CONNECTION")


def test_a_chunk_of_minus_one_does_not_read_past_the_cap():
    # given: a server that sends 64 MB behind the chunk size -1, which http.client reads to its end
    sent = []

    def script(_head, connection):
        connection.sendall(CHUNKED + b"-1\r\n")
        for _ in range(64):
            connection.sendall(bytes(10**6))
            sent.append(10**6)

    with scripted_server(script) as server:
        error = failure(server, max_bytes=100_000)

    assert error.code == "FETCH_CONNECTION"
    assert sum(sent) < 64 * 10**6


def test_a_declared_length_over_the_cap_is_refused_before_the_body():
    # given: a server that declares a terabyte and sends none of it
    over = threading.Event()

    def script(_head, connection):
        connection.sendall(response(length=10**12))
        over.wait(30)

    with scripted_server(script) as server:
        error = failure(server)
        over.set()

    assert error.code == "FETCH_TOO_LARGE"


@pytest.mark.parametrize("encoding", ["gzip", "GZip", "br", "identity, gzip"])
def test_a_packed_body_is_refused_unopened(encoding):
    bomb = gzip.compress(bytes(10**6))
    with scripted_server(answering(response(bomb, Content_Encoding=encoding))) as server:
        error = failure(server)

    assert error.code == "FETCH_CONTENT_ENCODING"


def test_random_answers_raise_nothing_but_errors_of_our_own():
    # given: answers patched together from plausible and implausible pieces
    rng = random.Random(0)
    pieces = [b"HTTP/1.1 ", b"200 OK", b"302 Found", b"\r\n", b"\r\n\r\n", b"\n", b"Location: "]
    pieces += [b"http://[", b"/", b"Content-Length: ", b"7", b"-1", b"Transfer-Encoding: chunked"]
    pieces += [b"Transfer-Encoding: chunked\r\n\r\n", b"-", b"-1\r\n", b"f", b";", b"+", b"0x"]
    pieces += [b"\xff\xfe", b"\x00", b"Content-Encoding: ", b"gzip", b": ", b"picture"]

    def script(_head, connection):
        opening = b"HTTP/1.1 200 OK\r\n" if rng.random() < 0.7 else b""
        connection.sendall(opening + b"".join(rng.choices(pieces, k=rng.randint(1, 12))))

    with scripted_server(script) as server:
        hardened = fetcher(max_redirects=1)
        for _ in range(300):
            with contextlib.suppress(ClipWorkerError):
                hardened.fetch(server.url())
