"""Signs what a stock Celery application sends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.signals import before_task_publish
from kombu.utils.json import dumps

from clip_worker.contract.requests import TASK_PREFIX
from clip_worker.contract.signatures import SIGNATURE_HEADER, SigningKey
from clip_worker.contract.signatures import signing_keys as read_keys
from clip_worker.errors import InvalidRequestError

RECEIVER = "clip_worker.sign_tasks"  # its name among Celery's receivers


def sign_tasks(
    signing_keys: str, prefix: str = TASK_PREFIX, *, now: Callable[[], float] = time.time
) -> None:
    """Sign the messages that the Celery applications of this process send from now on.

    Args:
        signing_keys: The workers' CLIP_WORKER_SIGNING_KEYS; the first one signs.
        prefix: Only tasks whose names begin with it are signed; all with the empty string.
        now: Unix time in seconds.

    Raises:
        InvalidRequestError: `BAD_SIGNING_KEY`.
    """
    key = parsed_keys(signing_keys)[0]

    def sign(
        sender: object, headers: dict[str, Any], body: object, routing_key: str, **_: object
    ) -> None:
        if str(sender).startswith(prefix):
            # Nothing but kombu's own encoder gives the bytes that kombu will send.
            encoded = dumps(body).encode()  # type: ignore[no-untyped-call]  # kombu's
            headers[SIGNATURE_HEADER] = key.sign(headers, encoded, routing_key, now())

    before_task_publish.disconnect(dispatch_uid=RECEIVER)
    before_task_publish.connect(sign, weak=False, dispatch_uid=RECEIVER)


def parsed_keys(text: str) -> tuple[SigningKey, ...]:
    """Signing keys, at least one, as a caller gives them.

    Raises:
        InvalidRequestError: `BAD_SIGNING_KEY`; the message does not show it.
    """
    try:
        keys = read_keys(text)
    except ValueError as error:
        raise InvalidRequestError(
            f"The signing key is not valid: {error}.", "BAD_SIGNING_KEY"
        ) from error
    if not keys:
        raise InvalidRequestError(
            "There is no signing key; pass one, or None to leave messages unsigned.",
            "BAD_SIGNING_KEY",
        )
    return keys
