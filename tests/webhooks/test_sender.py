"""Posting to a webhook: what is sent, and servers that fail or mean harm."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_clock import FakeClock
from support.scripted_server import answering, response, scripted_server
from support.webhook_receiver import SECRET, read, receiver

from clip_worker.contract.webhooks import signing_key
from worker.sources import FetchPolicy
from worker.sources.http_connection import Dialer
from worker.sources.ssrf_guard import AddressGuard
from worker.webhooks.sender import UndeliveredError, WebhookSender

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.scripted_server import Script

OTHER = "whsec_" + "QUJD" * 10
BODY = json.dumps({"task_id": "t", "status": "SUCCESS", "result": None}).encode()
LOOPBACK = FetchPolicy(allow_networks=(ip_network("127.0.0.0/8"),))


def sender(
    *secrets: str, resolve: Callable[..., Any] = lambda *_: ["127.0.0.1"], **options: Any
) -> WebhookSender:
    keys = [signing_key(each) for each in secrets or (SECRET,)]
    policy = options.pop("policy", LOOPBACK)
    dialer = Dialer(ssl.create_default_context(), 5.0)
    return WebhookSender(keys, AddressGuard(policy, resolve), dialer, **options)


def undelivered(script: Script, host: str = "127.0.0.1", **options: Any) -> UndeliveredError:
    """How a post to such a server fails."""
    with scripted_server(script) as server, pytest.raises(UndeliveredError) as caught:
        sender(**options).send("msg_1", server.url("/hook?token=hidden", host=host), BODY)
    assert "hidden" not in caught.value.reason
    return caught.value


def after_body(then: Callable[[socket.socket], object]) -> Script:
    """A server that reads the whole request before it does something."""

    def script(head: str, connection: socket.socket) -> None:
        read(head, connection)
        then(connection)

    return script


def answering_after_body(answer: bytes) -> Script:
    return after_body(lambda connection: connection.sendall(answer))


def test_a_post_is_signed_with_each_secret_and_has_the_body_and_the_type_of_json() -> None:
    with receiver() as here:
        sender(SECRET, OTHER).send("msg_1", here.url(), BODY)

    [received] = here.received
    assert (received.path, received.body) == ("/hooks/clip?token=hidden", BODY)
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["User-Agent"].startswith("clip-worker/")
    for secret in (SECRET, OTHER):
        assert received.event(secret).id == "msg_1"


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
def test_every_status_of_success_is_one(status: str) -> None:
    with receiver() as here:
        here.answer = response(status=status)
        sender().send("msg_1", here.url(), BODY)
    assert len(here.received) == 1


@pytest.mark.parametrize(
    ("status", "is_final"),
    [
        ("400 Bad Request", True),
        ("401 Unauthorized", True),
        ("404 Not Found", True),
        ("410 Gone", True),
        ("422 Unprocessable Content", True),
        ("408 Request Timeout", False),
        ("425 Too Early", False),
        ("429 Too Many Requests", False),
        ("500 Internal Server Error", False),
        ("501 Not Implemented", False),
        ("503 Service Unavailable", False),
    ],
)
def test_what_may_pass_is_tried_again_and_what_can_not_is_not(
    status: str, is_final: object
) -> None:
    error = undelivered(answering_after_body(response(status=status)))
    assert (error.reason, error.is_final) == (
        f"the server answered with status {status[:3]}",
        is_final,
    )


def test_a_server_says_when_to_try_again() -> None:
    answer = response(status="503 Service Unavailable", Retry_After="120")
    assert undelivered(answering_after_body(answer)).retry_after_s == 120
    busy = response(status="503 Busy")
    assert undelivered(answering_after_body(busy)).retry_after_s is None


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed_least_of_all_to_a_private_address(status: str) -> None:
    with receiver() as private:
        answer = response(status=status, Location=private.url("/admin"))
        error = undelivered(answering_after_body(answer))
    assert error.reason == (
        f"the server answered with status {status[:3]}, and redirects are not followed"
    )
    assert not error.is_final
    assert private.received == []


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["127.0.0.1", "169.254.169.254"], ["::1"]])
def test_nothing_is_sent_to_a_host_with_a_private_address(addresses: list[str]) -> None:
    with receiver() as here:
        url = here.server.url("/hook?token=hidden", host="intern.example")
        with pytest.raises(UndeliveredError) as caught:
            sender(resolve=lambda *_: addresses).send("msg_1", url, BODY)
    assert caught.value.is_final
    assert "not on the public internet" in caught.value.reason
    assert here.received == []


def test_a_name_is_resolved_once_and_a_private_network_may_be_opened() -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    with receiver() as here:
        url = here.server.url("/hook", host="rebind.example")
        private = FetchPolicy(allow_private=True)
        sender(resolve=lambda *_: answers.pop(0), policy=private).send("msg_1", url, BODY)
    assert len(here.received) == len(answers) == 1
    assert here.received[0].headers["Host"] == f"rebind.example:{here.server.port}"


def trickling(clock: FakeClock, opening: bytes) -> Script:
    """A server that sends one more byte of its answer's head each second, for ever."""

    def script(head: str, connection: socket.socket) -> None:
        read(head, connection)
        connection.sendall(opening)
        while True:
            clock.now_s += 1.0
            connection.sendall(b"x")

    return script


@pytest.mark.parametrize("opening", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_an_answer_that_trickles_in_ends_with_the_deadline(opening: bytes) -> None:
    clock = FakeClock()
    error = undelivered(trickling(clock, opening), clock=clock)
    assert error.reason in (
        "the server did not answer within 10 s",
        "the server can't be reached, or closed the connection",  # a line without end
    )
    assert not error.is_final


def test_a_server_that_hangs_ends_with_the_deadline() -> None:
    done = threading.Event()
    script = after_body(lambda _connection: done.wait(60))
    try:
        error = undelivered(script, timeout_s=0.2)
    finally:
        done.set()
    assert (error.reason, error.has_hung) == ("the server did not answer within 0.2 s", True)


def test_an_endless_body_is_not_read() -> None:
    ended = threading.Event()

    def script(head: str, connection: socket.socket) -> None:
        read(head, connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 65_536)
        except OSError:  # the worker has closed the connection
            ended.set()

    with scripted_server(script) as server:
        sender().send("msg_1", server.url(), BODY)
        assert ended.wait(60)


@pytest.mark.parametrize(
    "script",
    [
        lambda _head, connection: connection.close(),
        after_body(lambda connection: connection.close()),
        answering(b"no HTTP\r\n\r\n"),
        answering(b"HTTP/1.1 2OO OK\r\n\r\n"),
        answering(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n"),
        answering(response(b"x", Content_length="7")),
    ],
    ids=["at once", "after the body", "no HTTP", "no number", "many headers", "two lengths"],
)
def test_a_connection_that_is_reset_or_makes_no_sense_is_tried_again(script: Script) -> None:
    error = undelivered(script)
    assert error.reason == "the server can't be reached, or closed the connection"
    assert not error.is_final


def test_an_answer_with_malformed_headers_counts_and_its_url_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = b"HTTP/1.1 500 Oops\r\nno header\r\nA: b\r\n\r\n"
    assert undelivered(answering_after_body(answer)).reason.endswith("status 500")
    assert "hidden" not in caplog.text


def test_an_answer_counts_although_the_server_has_not_read_the_body_yet() -> None:
    def script(head: str, connection: socket.socket) -> None:
        connection.sendall(response(status="413 Content Too Large"))
        read(head, connection)

    error = undelivered(script)
    assert (error.reason, error.is_final) == ("the server answered with status 413", True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), "does not exist"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "did not answer"),
    ],
)
def test_a_name_that_is_not_known_just_now_is_tried_again(error: OSError, reason: str) -> None:
    def resolve(*_: object) -> list[str]:
        raise error

    with pytest.raises(UndeliveredError) as caught:
        sender(resolve=resolve).send("msg_1", "https://example.com/hook", BODY)
    assert reason in caught.value.reason
    assert not caught.value.is_final


def test_nobody_there_is_tried_again_and_a_url_that_can_not_be_one_is_not() -> None:
    with receiver() as here:
        url = here.url()
    with pytest.raises(UndeliveredError) as caught:
        sender().send("msg_1", url, BODY)
    assert (caught.value.reason, caught.value.is_final) == ("the server can't be reached", False)
    with pytest.raises(UndeliveredError) as caught:
        sender().send("msg_1", "https://u:p@example.com/", BODY)
    assert (caught.value.reason, caught.value.is_final) == ("its URL is not valid", True)
