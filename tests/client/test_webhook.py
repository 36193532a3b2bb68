"""Verifying a webhook: signatures of the Standard Webhooks specification, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from support.failure import failure_of

from clip_worker import Classification, Failure, Outcome, WebhookEvent, verify_webhook
from clip_worker.contract.webhooks import failure_body, signature, signing_key, success_body

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()
NOW = 1_700_000_000
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
CLASSIFICATION: dict[str, Any] = {
    "predictions": [{"label": "chät", "probability": 0.5, "index": 0}],
    "model": "demo",
    "model_digest": "0",
    "timing": dict.fromkeys(
        ("queue", "labels", "fetch", "decode", "batch_wait", "forward", "score"), 0.0
    )
    | {"batch_size": 1},
    "embedding": None,
}
BROKEN = {"type": "ImageInvalidError", "code": "DECODE_BROKEN", "message": "It is broken."}
BODY = success_body("t-1", json.dumps(CLASSIFICATION, ensure_ascii=False)).encode()


def signed(body: bytes = BODY, *secrets: str, at: int = NOW) -> dict[str, str]:
    """The headers of a request, signed here by the published algorithm and nothing of ours."""
    made = []
    for secret in secrets or (SECRET,):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.new(key, b"%s.%d.%s" % (ID.encode(), at, body), hashlib.sha256).digest()
        made.append(f"v1,{base64.b64encode(digest).decode()}")
    return {
        "Webhook-Id": ID,
        "Webhook-Timestamp": str(at),
        "Webhook-Signature": " ".join(made),
        "Content-Type": "application/json",
    }


def test_a_signature_is_that_of_the_published_example() -> None:
    made = signature(signing_key(SECRET), ID, 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), [OTHER, SECRET]])
def test_a_signed_result_is_an_event_with_a_typed_result(secret: Any) -> None:
    event = verify_webhook(BODY, signed(), secret, now=NOW + 299)
    assert event == WebhookEvent(
        id=ID,
        task_id="t-1",
        status="SUCCESS",
        result=Classification.model_validate(CLASSIFICATION),
    )


def test_outcomes_and_failures_are_typed_too() -> None:
    outcomes = [
        {"status": "ok", "result": CLASSIFICATION, "error": None},
        {"status": "error", "result": None, "error": BROKEN},
    ]
    many = success_body("t", json.dumps(outcomes)).encode()
    assert verify_webhook(many, signed(many), SECRET, now=NOW).result == tuple(
        map(Outcome.model_validate, outcomes)
    )
    failed = failure_body("t", Failure(**BROKEN)).encode()
    event = verify_webhook(failed, signed(failed), SECRET, now=NOW)
    assert (event.status, event.result, event.error) == ("FAILURE", None, Failure(**BROKEN))


def test_while_the_secret_is_replaced_one_of_two_signatures_is_enough() -> None:
    headers = signed(BODY, OTHER, SECRET)
    headers["Webhook-Signature"] = "v1a,unknown " + headers["Webhook-Signature"]
    assert verify_webhook(BODY, headers, SECRET, now=NOW).task_id == "t-1"
    assert verify_webhook(BODY, headers, OTHER, now=NOW).task_id == "t-1"


def test_fields_of_a_newer_version_are_ignored() -> None:
    newer = json.dumps(json.loads(BODY) | {"colour": "black"}).encode()
    assert verify_webhook(newer, signed(newer), SECRET, now=NOW).task_id == "t-1"


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in signed().items() if key != name}


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (BODY + b" ", signed(), "its body was changed"),
        (BODY, signed(BODY, OTHER), "not made with this secret"),
        (BODY, signed() | {"Webhook-Id": "another"}, "not made with this secret"),
        (BODY, signed() | {"Webhook-Signature": "v1,"}, "not made with this secret"),
        (BODY, signed() | {"Webhook-Signature": "v1,ü"}, "not made with this secret"),
        (
            BODY,
            signed(at=NOW - 301),
            "is 301 s off this host's clock, and at most 300 s are allowed",
        ),
        (BODY, signed(at=NOW + 301), "301 s off this host's clock"),
        (BODY, signed() | {"Webhook-Id": "\ud83d"}, "not made with this secret"),
        (BODY, signed() | {"Webhook-Timestamp": "soon"}, "webhook-timestamp is 'soon'"),
        (BODY, signed() | {"Webhook-Timestamp": "²"}, "not a Unix time"),
        (BODY, signed() | {"Webhook-Timestamp": "9" * 5000}, "not a Unix time"),
        (BODY, without("Webhook-Id"), "no header webhook-id"),
        (BODY, without("Webhook-Timestamp"), "no header webhook-timestamp"),
        (BODY, without("Webhook-Signature"), "no header webhook-signature"),
    ],
)
def test_a_forged_or_old_request_is_refused_with_its_reason(
    body: bytes, headers: dict[str, str], reason: str
) -> None:
    failure = failure_of(verify_webhook, body, headers, SECRET, now=NOW)
    assert failure.code == "BAD_SIGNATURE"
    assert failure.message.startswith("The webhook was refused: ")
    assert reason in failure.message


@pytest.mark.parametrize("secret", ["", [], "whsec_AAAA", "whsec_!!!", "whsec_c2hvcnQ=", "w" * 120])
def test_a_secret_that_can_not_be_one_is_reported_without_it(secret: Any) -> None:
    failure = failure_of(verify_webhook, BODY, signed(), secret, now=NOW)
    assert failure.code == "BAD_WEBHOOK_SECRET"
    assert not secret or secret not in failure.message


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"task_id": "t", "status": "DONE"}', b"\xff"]
)
def test_a_signed_body_that_is_no_event_is_reported(body: bytes) -> None:
    assert failure_of(verify_webhook, body, signed(body), SECRET, now=NOW).code == "BAD_EVENT"
