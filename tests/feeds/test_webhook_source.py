"""Notifications that are posted: accepted from who knows the secret, and never lost."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import socket
from typing import TYPE_CHECKING

import pytest
from support.arriving import Arrived
from support.failure import failure_of

from clip_worker.contract.webhooks import signature, signing_key
from clip_worker.feeds.notifications import http_server
from clip_worker.feeds.notifications.arrivals import NotificationArrivals
from clip_worker.feeds.notifications.authentication import Authentication
from clip_worker.feeds.notifications.webhook import Endpoint, WebhookSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "correct-horse"
KEY = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
EVENT = {
    "EventName": "s3:ObjectCreated:Put",
    "Records": [
        {
            "eventName": "s3:ObjectCreated:Put",
            "s3": {"bucket": {"name": "pets"}, "object": {"key": "a+b.jpg", "eTag": "1"}},
        }
    ],
}


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Arrived]]:
    opened: list[NotificationArrivals] = []

    def begin(secret: str = SECRET) -> Arrived:
        check = Authentication(secret) if secret else None
        source = WebhookSource(Endpoint("127.0.0.1", 0, "/hook"), tmp_path / "inbox", check)
        opened.append(NotificationArrivals(source))
        return Arrived(opened[-1])

    yield begin
    for each in opened:
        each.close()


def post(
    arrived: Arrived, body: object = EVENT, path: str = "/hook", method: str = "POST", **headers
) -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", arrived.arrivals._source.port, 30)
    try:
        connection.request(
            method, path, data, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        return connection.getresponse().status
    finally:
        connection.close()


def bearer(secret: str = SECRET) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_notification_is_accepted_and_its_image_yielded(listen):
    arrived = listen()

    assert post(arrived, **bearer()) == 204

    (item,) = arrived.wait_for(1)
    assert item.image == "s3://pets/a b.jpg"


def test_what_was_accepted_survives_a_crash_until_its_row_is_durable(listen):
    first = listen()
    post(first, **bearer())
    other = json.loads(json.dumps(EVENT).replace("a+b", "c"))
    post(first, other, **bearer())
    first.wait_for(2)
    first.arrivals.acknowledge([first.keys[0]])
    first.arrivals.close()

    second = listen()

    (item,) = second.wait_for(1)
    assert item.image == "s3://pets/c.jpg"
    second.arrivals.acknowledge([item.key])
    assert second.arrivals._source._inbox.after(0, 10) == []


@pytest.mark.parametrize(
    "headers",
    [
        bearer(),
        {"Authorization": SECRET},
        {"Authorization": "Basic " + base64.b64encode(f"sns:{SECRET}".encode()).decode()},
    ],
)
def test_a_secret_may_be_sent_in_the_ways_of_the_stores(listen, headers):
    assert post(listen(), **headers) == 204


def test_a_secret_may_be_part_of_the_url(listen):
    arrived = listen()

    assert post(arrived, path=f"/hook?token={SECRET}") == 204
    assert post(arrived, path="/hook?token=wrong") == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        {"Authorization": "Basic ???"},
        {"Authorization": "Bearer "},
        bearer("é"),
    ],
)
def test_who_does_not_know_the_secret_is_refused(listen, headers):
    arrived = listen()

    assert post(arrived, **headers) == 401
    assert arrived.poll(0.2) == []


def signed(body: bytes, at: int, key: str = KEY) -> dict[str, str]:
    return {
        "webhook_id": "msg_1",
        "webhook_timestamp": str(at),
        "webhook_signature": f"v1,AAAA {signature(signing_key(key), 'msg_1', at, body)}",
    }


def test_a_signed_notification_is_accepted_and_a_forged_or_old_one_is_not():
    now = 1_763_000_000
    check = Authentication(KEY, lambda: float(now))
    body = json.dumps(EVENT).encode()

    def accepts(headers: dict[str, str], body: bytes = body) -> bool:
        return check.accepts({k.replace("_", "-"): v for k, v in headers.items()}, "", body)

    assert accepts(signed(body, now - 200))
    assert not accepts(signed(body, now), body + b" ")
    assert not accepts(signed(body, now - 301))
    assert not accepts(signed(body, now) | {"webhook_timestamp": str(now + 1)})
    assert not accepts(signed(body, now) | {"webhook_timestamp": "9" * 5000})
    assert not accepts(signed(body, now, f"whsec_{base64.b64encode(bytes(32)).decode()}"))
    assert not accepts({})


def test_a_key_that_is_none_is_refused_without_being_shown():
    with pytest.raises(ValueError, match="give whsec_") as caught:
        Authentication("whsec_secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"body": b"no JSON"}, 400),
        ({"body": b'{"key": "\xff"}'}, 400),
        ({"body": b"x" * (1024 * 1024 + 1)}, 413),
        ({"path": "/other"}, 404),
        ({"method": "PUT"}, 501),
        ({"method": "HEAD"}, 200),
    ],
)
def test_what_is_not_a_notification_gets_an_error_of_http(listen, request_, status):
    assert post(listen(), **request_, **bearer()) == status


def test_a_test_event_is_accepted_and_yields_nothing(listen):
    arrived = listen()

    assert post(arrived, {"Event": "s3:TestEvent"}, **bearer()) == 204
    assert arrived.poll(0.2) == []


def test_the_url_that_confirms_a_subscription_is_shown_and_not_opened(listen, caplog):
    arrived = listen()
    body = {"Type": "SubscriptionConfirmation", "SubscribeURL": "https://sns.example/confirm"}

    with caplog.at_level(logging.WARNING):
        assert post(arrived, body, **bearer()) == 204

    assert "open 'https://sns.example/confirm'" in caplog.text


def test_a_full_disk_is_answered_so_that_the_sender_tries_again(listen):
    arrived = listen()
    inbox = arrived.arrivals._source._inbox
    pages = inbox._opened.execute("PRAGMA page_count").fetchone()[0]
    inbox._opened.execute(f"PRAGMA max_page_count = {pages}")
    event = json.loads(json.dumps(EVENT).replace("a+b", "a" * 20_000))

    assert post(arrived, event, **bearer()) == 503


def test_silent_connections_hold_nobody_up(listen, monkeypatch):
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 4)
    arrived = listen()
    address = ("127.0.0.1", arrived.arrivals._source.port)
    silent = [socket.create_connection(address) for _ in range(8)]
    try:
        assert post(arrived, **bearer()) == 204
        silent[0].settimeout(30)
        assert silent[0].recv(1) == b""
    finally:
        for each in silent:
            each.close()


def test_a_port_that_is_taken_is_named(listen, tmp_path):
    port = listen().arrivals._source.port
    source = WebhookSource(Endpoint("127.0.0.1", port, "/"), tmp_path / "other", None)

    failure = failure_of(NotificationArrivals(source).open, frozenset)

    assert failure.code == "FEED_FAILED"
    assert "Address already in use" in failure.message
