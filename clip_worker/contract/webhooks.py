"""What a worker posts to a webhook, and how it is signed (docs/webhooks.md).

The signature follows the Standard Webhooks specification, version 1.0.0
(https://github.com/standard-webhooks/standard-webhooks), symmetric scheme `v1`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from typing import Literal

from pydantic import ConfigDict

from clip_worker.contract.results import Classification, Failure, Outcome, Wire
from clip_worker.contract.uri import validate_uri
from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import shown_uri

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
SIGNATURE_VERSION = "v1"

SECRET_PREFIX = "whsec_"  # noqa: S105  # not a secret: what each begins with
LEAST_KEY_BYTES = 24  # the specification's bounds
MOST_KEY_BYTES = 64

_HTTP = re.compile(r"\s*https?:", re.IGNORECASE)


class WebhookEvent(Wire):
    """The end of a task, as its webhook gets it.

    Attributes:
        id: The same in each attempt to post this event: a receiver that has seen it can ignore it.
        task_id: The task's id.
        status: How the task ended.
        result: Of `clip.classify` a classification, of `clip.classify_many` an outcome an image.
        error: Why there is no result.
    """

    model_config = ConfigDict(extra="ignore")  # from newer workers

    id: str
    task_id: str
    status: Literal["SUCCESS", "FAILURE"]
    result: Classification | tuple[Outcome, ...] | None = None
    error: Failure | None = None


def success_body(task_id: str, result_json: str) -> str:
    """The body for a task that succeeded, with its result as JSON."""
    return f'{{"task_id": {json.dumps(task_id)}, "status": "SUCCESS", "result": {result_json}}}'


def failure_body(task_id: str, error: Failure) -> str:
    """The body for a task that failed."""
    return json.dumps({"task_id": task_id, "status": "FAILURE", "error": error.model_dump()})


def validate_webhook(url: str) -> str:
    """Validate a webhook's URL by its spelling, and return it without surrounding blanks.

    Whether a worker may connect to it is only known when it is posted to.

    Raises:
        InvalidRequestError: `BAD_WEBHOOK`, with what to write instead.
    """
    if not _HTTP.match(url):
        raise InvalidRequestError(
            f"The webhook {shown_uri(url)} is not an http or https URL; pass one such as "
            "'https://example.com/hooks/clip'.",
            "BAD_WEBHOOK",
        )
    try:
        return validate_uri(url)
    except InvalidRequestError as error:
        message = error.message.replace("The URI", "The webhook", 1)
        raise InvalidRequestError(message, "BAD_WEBHOOK") from error


def signing_key(secret: str) -> bytes:
    """The key of a secret: 24 to 64 bytes in base64, with or without `whsec_` before them.

    Raises:
        ValueError: It is something else; the message does not show it.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise ValueError("give whsec_ and base64") from None
    if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        raise ValueError(
            f"give whsec_ and base64 of {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} bytes, not {len(key)}"
        )
    return key


def signature(key: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """The signature of a post, as one of the header's: HMAC-SHA256 in base64.

    >>> signature(bytes(24), "msg_1", 1700000000, b"{}")
    'v1,LzeNxZHo3O8fwpFJpLh/0B99ugILNFJw+/9lTgx0APs='

    Args:
        key: See `signing_key`.
        event_id: The event's id.
        timestamp: Unix time in seconds, when it is posted.
        body: The body.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    digest = hmac.digest(key, signed, "sha256")
    return f"{SIGNATURE_VERSION},{base64.b64encode(digest).decode()}"
