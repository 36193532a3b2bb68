"""Signs a message anew that was signed some time ago."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from clip_worker.contract.message_reader import Envelope
from clip_worker.contract.signatures import SIGNATURE_HEADER, SignatureCheck, SigningKey


def resigned(message: str, keys: Sequence[SigningKey], queue: str, now: float) -> str:
    """A message with a signature of now, by the first of the keys; nothing else is changed.

    Args:
        message: Signed by any of the keys, however long ago.
        keys: At least one.
        queue: Name of its queue.
        now: Unix time in seconds.

    Raises:
        UnreadableMessageError: It can't be read, or is not signed by one of the keys.
    """
    check = SignatureCheck(keys, math.inf, lambda: now)
    made: list[dict[str, str]] = []

    def renew(headers: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        authentic = check.verify(headers, body, queue)
        made.append(keys[0].sign(authentic, body, queue, now))
        return authentic

    Envelope.decode(message.encode(), renew)
    fields = json.loads(message)
    fields["headers"][SIGNATURE_HEADER] = made[0]
    return json.dumps(fields)
