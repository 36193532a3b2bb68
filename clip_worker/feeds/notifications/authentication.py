"""Whether a notification comes from who knows the secret."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Mapping

from clip_worker.contract.webhooks import (
    ID_HEADER,
    SECRET_PREFIX,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    signature,
    signing_key,
)

TOLERANCE_S = 300  # between the sender's clock and ours; longer ago may be a replay


class Authentication:
    """Checks requests against one secret.

    Stores and their queues have different ways to send it: `Authorization: Bearer SECRET` (MinIO's
    `auth_token`), HTTP's basic authentication with the secret as the password (SNS), or a query
    `?token=SECRET` (Pub/Sub). A secret that begins with `whsec_` is a key instead: requests are
    signed as by https://www.standardwebhooks.com.

    Args:
        secret: The secret.
        clock: Unix time in seconds.

    Raises:
        ValueError: It begins with `whsec_` and is no key; the message does not show it.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret.encode()
        self._key = signing_key(secret) if secret.startswith(SECRET_PREFIX) else None
        self._clock = clock

    @property
    def needs_body(self) -> bool:
        """Whether requests are signed."""
        return self._key is not None

    def accepts(self, headers: Mapping[str, str], token: str, body: bytes) -> bool:
        """Whether a request is authentic.

        Args:
            headers: Of the request, by their names in lower case.
            token: That of its query; empty if there is none.
            body: Its body; only read where requests are signed.
        """
        if self._key is not None:
            return self._is_signed(self._key, headers, body)
        given = (token, *_sent_secrets(headers.get("authorization", "")))
        return any(
            hmac.compare_digest(each.encode(errors="replace"), self._secret) for each in given
        )

    def _is_signed(self, key: bytes, headers: Mapping[str, str], body: bytes) -> bool:
        sent_at = headers.get(TIMESTAMP_HEADER, "")
        if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) < 20):
            return False
        if abs(int(sent_at) - self._clock()) > TOLERANCE_S:
            return False
        right = signature(key, headers.get(ID_HEADER, ""), int(sent_at), body).encode()
        given = headers.get(SIGNATURE_HEADER, "").split()
        return any(hmac.compare_digest(each.encode(errors="replace"), right) for each in given)


def _sent_secrets(authorization: str) -> tuple[str, ...]:
    """What may be the secret in a header `Authorization`."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization, value.strip()
    try:
        decoded = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ()
    return (decoded.partition(":")[2],)
