"""Signed messages: what is covered, what is refused, and by which sentence."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import partial
from typing import Any

import pytest
from celery import Celery
from celery.signals import before_task_publish
from kombu import Queue
from support.messages import message

from clip_worker.client.sign_tasks import RECEIVER, parsed_keys, sign_tasks
from clip_worker.contract import RequestOptions, parse
from clip_worker.contract.message_reader import Envelope, UnauthenticMessageError
from clip_worker.contract.message_writer import EncodedRequest, MessageWriter
from clip_worker.contract.resigning import resigned
from clip_worker.contract.signatures import (
    SIGNATURE_HEADER,
    SignatureCheck,
    SigningKey,
    signing_keys,
)
from clip_worker.errors import InvalidRequestError

NOW = 1_800_000_000.0
KEY, OTHER = SigningKey.parse("0f" * 32), SigningKey.parse("1e" * 32)
ID = "5f3c8b1e-2a0d-4c57-9a55-d1b6a1f0c001"


def signed(at: float = NOW, key: SigningKey = KEY, queue: str = "clip", **headers: Any) -> Any:
    """A message as a producer in any language may write it."""
    made = message(ID, headers=headers)
    body = base64.b64decode(made["body"])
    made["headers"][SIGNATURE_HEADER] = key.sign(made["headers"], body, queue, at)
    return made


def read(made: Any, *keys: SigningKey, queue: str = "clip", max_age_s: float = 100.0) -> Envelope:
    check = SignatureCheck(keys or (KEY,), max_age_s, lambda: NOW)
    raw = made if isinstance(made, str) else json.dumps(made)
    return Envelope.decode(raw.encode(), partial(check.verify, queue=queue))


def refusal(made: Any, *keys: SigningKey, **options: Any) -> str:
    with pytest.raises(UnauthenticMessageError) as caught:
        read(made, *keys, **options)
    assert caught.value.envelope == Envelope(ID, made["headers"]["task"])
    return str(caught.value)


def test_the_signature_is_the_hmac_of_a_text_that_any_language_can_write():
    made = signed()
    header = made["headers"][SIGNATURE_HEADER]
    text = json.loads(header["signed"])

    assert header["mac"] == hmac.new(b"\x0f" * 32, header["signed"].encode(), "sha256").hexdigest()
    assert header["key"] == hashlib.sha256(b"0f" * 32).hexdigest()[:8]
    assert text["sha256"] == hashlib.sha256(base64.b64decode(made["body"])).hexdigest()
    assert (text["at"], text["queue"], text["headers"]["id"]) == (NOW, "clip", ID)


def test_a_signed_message_is_read_as_it_was_sent():
    envelope = read(signed(expires="2030-01-01T00:00:00+00:00", retries=2))
    assert (envelope.id, envelope.headers["retries"]) == (ID, 2)
    assert envelope.headers["expires"] == "2030-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "shop.refund"),
        ("id", "another"),
        ("eta", "2030-01-01T00:00:00+00:00"),
        ("expires", "2039-01-01T00:00:00+00:00"),
        ("callbacks", [{"task": "shop.refund"}]),
        ("chord", {"task": "shop.refund"}),
        ("chain", [{"task": "shop.refund"}]),
        ("group", "g"),
        ("ignore_result", True),
        ("timelimit", [1, 1]),
        ("own", "value"),
    ],
)
def test_a_header_that_was_added_or_changed_afterwards_has_no_effect(name, value):
    made = signed(expires="2030-01-01T00:00:00+00:00")
    before = read(made)

    made["headers"][name] = value

    assert read(made).headers == before.headers


def test_the_properties_that_a_signature_does_not_cover_have_no_effect():
    made = signed()
    made["properties"] |= {
        "reply_to": "elsewhere",
        "correlation_id": "another",
        "delivery_info": {"exchange": "shop", "routing_key": "shop"},
    }
    assert read(made).properties == {"priority": made["properties"].get("priority")}


def test_what_only_logs_show_and_what_tracing_adds_later_stays():
    made = signed(argsrepr="()")
    made["headers"] |= {"kwargsrepr": "{}", "traceparent": "00-ab-cd-01"}
    headers = read(made).headers
    assert (headers["kwargsrepr"], headers["traceparent"]) == ("{}", "00-ab-cd-01")


@pytest.mark.parametrize(
    "signature", [None, "x", {}, {"key": KEY.id}, {"key": 1, "signed": 2, "mac": 3}]
)
def test_an_unsigned_message_is_refused(signature):
    made = message(ID, headers={SIGNATURE_HEADER: signature})
    assert "is not signed, and this worker takes signed messages only" in refusal(made)


def test_each_forgery_is_refused_with_the_reason():
    body = signed()
    body["body"] = base64.b64encode(b'[[], {"image": "file:///etc/passwd"}, {}]').decode()
    assert refusal(body) == "it was signed with another body"

    text = signed()
    header = text["headers"][SIGNATURE_HEADER]
    header["signed"] = header["signed"].replace("clip.classify", "shop.refund")
    assert refusal(text) == "its signature does not match"

    assert refusal(signed(), queue="other") == (
        "it was signed for the queue 'clip', and was taken from 'other'"
    )
    assert refusal(signed(key=OTHER)).startswith(f"it is signed with the key '{OTHER.id}', which")
    assert "does not match" in refusal(signed(key=SigningKey(KEY.id, OTHER.secret)))


def test_a_message_is_taken_for_as_long_as_its_signature_lasts():
    assert read(signed(NOW - 99))
    assert refusal(signed(NOW - 101)).startswith("it was signed 101 s ago, longer than the 100 s")
    assert read(signed(NOW + 299))
    assert "301 s ahead of this host's clock" in refusal(signed(NOW + 301))


def test_while_a_key_is_replaced_both_are_accepted():
    assert read(signed(key=OTHER), KEY, OTHER).id == ID
    assert read(signed(key=KEY), KEY, OTHER).id == ID


def test_a_message_that_was_refused_for_its_age_can_be_signed_anew_but_no_other():
    old = signed(NOW - 1000, OTHER, expires="2030-01-01T00:00:00+00:00")
    old["headers"]["chain"] = [{"task": "shop.refund"}]

    again = resigned(json.dumps(old), [KEY, OTHER], "clip", NOW)

    envelope = read(again)
    assert envelope.headers["expires"] == "2030-01-01T00:00:00+00:00"
    assert "chain" not in envelope.headers
    with pytest.raises(UnauthenticMessageError, match="is not signed"):
        resigned(json.dumps(message(ID)), [KEY], "clip", NOW)


@pytest.mark.parametrize("expires_s", [None, 60.0])
@pytest.mark.parametrize("listened", [False, True])
def test_the_clients_messages_are_signed(expires_s, listened):
    arguments = EncodedRequest(parse(RequestOptions, {"labels": ["ä"]})).with_image("data:,x")
    writer = MessageWriter("clip", KEY)
    note: Any = lambda headers, **_: headers.update(own="value")  # noqa: E731
    if listened:
        before_task_publish.connect(note, weak=False)
    try:
        text = writer.write(ID, "clip.classify", arguments, expires_s=expires_s)
    finally:
        before_task_publish.disconnect(note)
    check = SignatureCheck((KEY,))
    envelope = Envelope.decode(text.encode(), partial(check.verify, queue="clip"))
    assert envelope.arguments.kwargs["labels"] == ["ä"]
    assert (envelope.expires() is None) == (expires_s is None)
    assert envelope.headers.get("own") == ("value" if listened else None)


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("protocol", [1, 2])
def test_stock_celery_signs_with_one_call(protocol, compression):
    sign_tasks("0f" * 32, now=lambda: NOW)
    try:
        with Celery(broker="memory://", set_as_current=False) as app:
            app.conf.task_protocol = protocol
            app.conf.task_queues = [Queue("clip"), Queue("other")]
            for task in ("clip.classify", "shop.refund"):
                app.send_task(task, ("data:,x", ["ä"]), queue="clip", compression=compression)
            with app.connection_for_read() as connection:
                raw = [connection.default_channel._get("clip") for _ in range(2)]
    finally:
        before_task_publish.disconnect(dispatch_uid=RECEIVER)

    assert read(raw[0]).arguments.args == ["data:,x", ["ä"]]
    assert SIGNATURE_HEADER not in raw[1]["headers"]


@pytest.mark.parametrize("text", ["", "xyzzy", "0f" * 31, "0f" * 65, "0g" * 32, "0f" * 32 + ",x"])
def test_a_key_that_is_none_is_not_shown(text):
    with pytest.raises(InvalidRequestError) as caught:
        parsed_keys(text)
    assert caught.value.code == "BAD_SIGNING_KEY"
    assert not text or text not in caught.value.message


def test_keys_may_be_written_in_any_case_and_with_blanks():
    assert signing_keys(f" {'0F' * 32} , {'1e' * 32},") == (KEY, OTHER)
    assert signing_keys("") == ()
