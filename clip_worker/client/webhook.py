"""Verifies what a worker has posted to a webhook."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from clip_worker.contract.text import read_json
from clip_worker.contract.webhooks import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    WebhookEvent,
    signature,
    signing_key,
)
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import quote

DEFAULT_TOLERANCE_S = 300.0
MOST_DIGITS = 15  # of a timestamp


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Iterable[str],
    tolerance_s: float = DEFAULT_TOLERANCE_S,
    *,
    now: float | None = None,
) -> WebhookEvent:
    """Verify a request to a webhook, and return the event that it brings.

    The same event may be posted more than once: ignore one whose `id` has been handled before.

    Args:
        body: The request's body, as it was received.
        headers: The request's headers; upper and lower case are the same.
        secret: What the workers' CLIP_WORKER_WEBHOOK_SECRET is; or several, while it is replaced.
        tolerance_s: How old the request may be, or how far in the future, by both hosts' clocks.
        now: Unix time in seconds, if not that of this host.

    Raises:
        InvalidRequestError: `BAD_SIGNATURE`: a header is missing, the request is too old, or no
            secret made its signature: answer with status 400. `BAD_WEBHOOK_SECRET`: the secret
            can't be one. `BAD_EVENT`: it is signed, but from another version of clip-worker.
    """
    return _event(verify_signature(body, headers, secret, tolerance_s, now=now), body)


def verify_signature(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Iterable[str],
    tolerance_s: float = DEFAULT_TOLERANCE_S,
    *,
    now: float | None = None,
) -> str:
    """Verify a row that a run with `--to https://...` has posted, and return its `webhook-id`.

    The same row may be posted more than once: ignore one whose id has been handled before.

    Args:
        body: The request's body, as it was received: JSON, once it is verified.
        headers: As for `verify_webhook`, like the other arguments.
        secret: What CLIP_WORKER_WEBHOOK_SECRET of the run is.
        tolerance_s: As for `verify_webhook`.
        now: As for `verify_webhook`.

    Raises:
        InvalidRequestError: `BAD_SIGNATURE` or `BAD_WEBHOOK_SECRET`.
    """
    keys = _keys(secret)
    given = {
        name.lower(): value.encode(errors="replace").decode() for name, value in headers.items()
    }
    event_id, timestamp = _header(given, ID_HEADER), _header(given, TIMESTAMP_HEADER)
    signatures = _header(given, SIGNATURE_HEADER)
    sent_at = _checked_time(timestamp, time.time() if now is None else now, tolerance_s)
    expected = [signature(key, event_id, sent_at, body).encode() for key in keys]
    found = [each.encode() for each in signatures.split()]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in found):
        raise _refused("its signature was not made with this secret, or its body was changed")
    return event_id


def _keys(secret: str | Iterable[str]) -> list[bytes]:
    secrets = [secret] if isinstance(secret, str) else list(secret)
    try:
        keys = [signing_key(each) for each in secrets]
    except ValueError as error:
        raise InvalidRequestError(
            f"The webhook's secret is not valid: {error}.", "BAD_WEBHOOK_SECRET"
        ) from error
    if not keys:
        raise InvalidRequestError("There is no webhook secret; pass one.", "BAD_WEBHOOK_SECRET")
    return keys


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise _refused(f"it has no header {name}")
    return value


def _checked_time(text: str, now: float, tolerance_s: float) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise _refused(f"its {TIMESTAMP_HEADER} is {quote(text)} and not a Unix time in seconds")
    if abs(now - int(text)) > tolerance_s:
        raise _refused(
            f"its {TIMESTAMP_HEADER} is {abs(now - int(text)):.0f} s off this host's clock, and at "
            f"most {tolerance_s:g} s are allowed"
        )
    return int(text)


def _event(event_id: str, body: bytes) -> WebhookEvent:
    try:
        fields: Any = read_json(body)
        return WebhookEvent.model_validate({**fields, "id": event_id})
    except (ValueError, TypeError, ValidationError) as error:
        raise InvalidRequestError(
            "The body of the webhook is signed but can't be read; use the clip-worker version of "
            "the workers.",
            "BAD_EVENT",
        ) from error


def _refused(reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"The webhook was refused: {reason}.", "BAD_SIGNATURE")
