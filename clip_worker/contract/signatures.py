"""Signed messages: what the signature covers, how it is made, and how it is verified.

The header `clip_signature` has three strings: `signed`, JSON text with the time, the queue, the
hash of the body and the headers that take effect; `mac`, the HMAC-SHA256 of that text in
hexadecimal; and `key`, which of the keys made it. A worker with keys uses the headers in that text
and no others, so whatever else a message says has no effect. docs/security.md says what that
prevents.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from clip_worker.contract.text import read_json
from clip_worker.quoting import quote

SIGNATURE_HEADER = "clip_signature"
BAD_SIGNATURE = "BAD_SIGNATURE"
KEYS_VARIABLE = "CLIP_WORKER_SIGNING_KEYS"
MAX_AGE_S = 86_400.0
CLOCK_DIFFERENCE_S = 300.0  # how far ahead of this host's clock a producer's may be
# Only shown or measured. They are not signed: tracing adds its own after the signature was made.
UNSIGNED = frozenset(
    {SIGNATURE_HEADER, "lang", "origin", "argsrepr", "kwargsrepr", "clip_sent_at"}
    | {"traceparent", "tracestate", "baggage"}
)

_KEY = re.compile(r"(?:[0-9a-f]{2}){32,64}")


class SignatureError(ValueError):
    """A message is not signed as it should be; the message says what is wrong with "it"."""


class SigningKey(NamedTuple):
    """A secret that signs messages.

    Attributes:
        id: Names it without disclosing it.
        secret: Its bytes.
    """

    id: str
    secret: bytes

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """A key as an operator writes it: 32 to 64 bytes as hexadecimal digits.

        Raises:
            ValueError: It is something else; the message does not show it.
        """
        digits = text.strip().lower()
        if not _KEY.fullmatch(digits):
            raise ValueError("give 64 to 128 hexadecimal digits, as `openssl rand -hex 32` prints")
        return cls(hashlib.sha256(digits.encode()).hexdigest()[:8], bytes.fromhex(digits))

    def sign(
        self, headers: Mapping[str, Any], body: bytes, queue: str, now: float
    ) -> dict[str, str]:
        """The header `clip_signature` of a message.

        >>> key = SigningKey.parse("00" * 32)
        >>> key.sign({"task": "t", "id": "1"}, b"[[], {}, {}]", "clip", 1700000000)["key"]
        '60e05bd1'

        Args:
            headers: All headers of the message.
            body: Its body as JSON, neither in base64 nor compressed.
            queue: Name of the queue that it is sent to.
            now: Unix time in seconds.
        """
        covered = {
            name: value
            for name, value in headers.items()
            if value is not None and name not in UNSIGNED
        }
        digest = hashlib.sha256(body).hexdigest()
        signed = json.dumps({"at": now, "queue": queue, "sha256": digest, "headers": covered})
        return {"key": self.id, "signed": signed, "mac": self.mac(signed)}

    def mac(self, signed: str) -> str:
        """HMAC-SHA256 of a text, in hexadecimal digits."""
        return hmac.digest(self.secret, signed.encode(errors="surrogatepass"), "sha256").hex()


def signing_keys(text: str) -> tuple[SigningKey, ...]:
    """The keys in a list with commas; the first one signs, and each may have signed.

    Raises:
        ValueError: One is not a key; the message does not show it.
    """
    return tuple(SigningKey.parse(part) for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class SignatureCheck:
    """Verifies the signatures of messages.

    Attributes:
        keys: Those that are accepted.
        max_age_s: How long after it was signed a message is accepted, in seconds.
        now: Unix time in seconds.
    """

    keys: Sequence[SigningKey]
    max_age_s: float = MAX_AGE_S
    now: Callable[[], float] = time.time

    def verify(self, headers: Mapping[str, Any], body: bytes, queue: str) -> dict[str, Any]:
        """The headers that take effect: those that were signed, and some that are only shown.

        Args:
            headers: Of the message.
            body: Its body as JSON.
            queue: Name of the queue that it was taken from.

        Raises:
            SignatureError: It is not signed, or otherwise, too long ago, or for another queue.
        """
        signed = self._authentic(headers.get(SIGNATURE_HEADER))
        if signed.get("sha256") != hashlib.sha256(body).hexdigest():
            raise SignatureError("it was signed with another body")
        if signed.get("queue") != queue:
            raise SignatureError(
                f"it was signed for the queue {quote(signed.get('queue'))}, and was taken from "
                f"{quote(queue)}"
            )
        self._check_age(signed.get("at"))
        covered = signed.get("headers")
        if not isinstance(covered, dict):
            raise SignatureError("its signed headers are no object")
        return {name: headers[name] for name in UNSIGNED if name in headers} | covered

    def _authentic(self, signature: object) -> dict[str, Any]:
        """The signed text, which has one of the keys' HMAC."""
        given = signature if isinstance(signature, dict) else {}
        key_id, text, mac = given.get("key"), given.get("signed"), given.get("mac")
        if not (isinstance(key_id, str) and isinstance(text, str) and isinstance(mac, str)):
            raise SignatureError(
                f"it is not signed, and this worker takes signed messages only ({KEYS_VARIABLE})"
            )
        expected = self._key(key_id).mac(text).encode()
        if not hmac.compare_digest(expected, mac.encode(errors="surrogatepass")):
            raise SignatureError("its signature does not match")
        signed = read_json(text.encode(errors="surrogatepass"))
        return signed if isinstance(signed, dict) else {}

    def _key(self, key_id: str) -> SigningKey:
        for key in self.keys:
            if key.id == key_id:
                return key
        raise SignatureError(
            f"it is signed with the key {quote(key_id)}, which is not among the keys "
            f"{', '.join(key.id for key in self.keys)} of this worker ({KEYS_VARIABLE})"
        )

    def _check_age(self, at: object) -> None:
        if not isinstance(at, int | float):
            raise SignatureError("its signature does not say when it was made")
        age_s = self.now() - at
        if age_s > self.max_age_s:
            raise SignatureError(
                f"it was signed {age_s:.0f} s ago, longer than the {self.max_age_s:g} s of "
                "CLIP_WORKER_SIGNING_MAX_AGE_S; `clip-worker dead replay` signs it anew"
            )
        if -age_s > CLOCK_DIFFERENCE_S:
            raise SignatureError(
                f"it was signed {-age_s:.0f} s ahead of this host's clock; set both hosts' clocks"
            )
