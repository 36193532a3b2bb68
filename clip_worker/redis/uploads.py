"""Images that clients have uploaded to Redis, named by their SHA-256."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from clip_worker.contract.uri import UPLOAD_PREFIX, upload_digest
from clip_worker.contract.uri_errors import too_large
from clip_worker.errors import ImageUnavailableError, InvalidRequestError, TemporaryError
from clip_worker.quoting import shown_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

DEFAULT_TTL_S = 86_400.0
SMALL_BYTES = 512 * 1024
_REDIS_STRING_MAX_BYTES = 512 * 1024 * 1024


class UploadStore:
    """Stores uploads in Redis for a while; used by clients and workers.

    The URI's `uploads` is not a host: nothing ever connects to a host that a URI names.

    Args:
        redis_client: A client that returns bytes (`decode_responses=False`).
        ttl_s: Seconds that an upload is kept after it was last stored.
        prefix: Prefix of the keys.
    """

    def __init__(
        self,
        redis_client: Redis,
        ttl_s: float = DEFAULT_TTL_S,
        prefix: str = "clip-worker:upload:",
    ) -> None:
        self._redis = redis_client
        self._ttl_s = ttl_s
        self._prefix = prefix

    def put(self, data: bytes) -> str:
        """Store an image and return its URI, `redis://uploads/<sha256>`.

        The same bytes have the same URI; storing them again restarts their lifetime.

        Raises:
            InvalidRequestError: `EMPTY_UPLOAD`.
            TemporaryError: `UPLOAD_STORE`: Redis can't be reached, or is full.
        """
        if not data:
            raise InvalidRequestError(
                "The upload has 0 bytes; pass the bytes of an image file.", "EMPTY_UPLOAD"
            )
        digest = hashlib.sha256(data).hexdigest()
        try:
            self._redis.set(self._prefix + digest, data, px=int(self._ttl_s * 1000))
        except RedisError as error:
            raise _store_failed(error) from error
        return UPLOAD_PREFIX + digest

    def get(self, uri: str, max_bytes: int = _REDIS_STRING_MAX_BYTES - 1) -> bytes:
        """Read an upload.

        Args:
            uri: The URI that `put` returned.
            max_bytes: Maximum size of the upload.

        Raises:
            InvalidRequestError: `BAD_URI`.
            ImageUnavailableError: `UPLOAD_NOT_FOUND`: never stored, or expired; `FETCH_TOO_LARGE`.
            TemporaryError: `UPLOAD_STORE`: Redis can't be reached.
        """
        key = self._prefix + upload_digest(uri)
        try:
            # One byte more than allowed, so that a value that is too large is not read whole.
            data = cast("bytes", self._redis.getrange(key, 0, max_bytes))
        except RedisError as error:
            raise _store_failed(error) from error
        if not data:
            raise _not_found(uri)
        if len(data) > max_bytes:
            raise too_large(uri, max_bytes)
        return data

    def get_small(self, uris: Sequence[str]) -> list[bytes | Exception | None]:
        """Read several uploads in one round trip.

        Args:
            uris: URIs that `put` returned.

        Returns:
            For each its bytes; None if it is larger than `SMALL_BYTES`, to be read with `get`; or
            the error that `get` would raise.
        """
        keys = [self._key(uri) for uri in uris]
        parts: Iterator[bytes | RedisError]
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    if isinstance(key, str):
                        pipe.getrange(key, 0, SMALL_BYTES)
                parts = iter(pipe.execute(raise_on_error=False))
        except RedisError as error:
            parts = itertools.repeat(error)
        return [
            _small(next(parts), uri) if isinstance(key, str) else key
            for key, uri in zip(keys, uris, strict=True)
        ]

    def _key(self, uri: str) -> str | InvalidRequestError:
        try:
            return self._prefix + upload_digest(uri)
        except InvalidRequestError as error:
            return error


def _small(part: bytes | RedisError, uri: str) -> bytes | Exception | None:
    if isinstance(part, RedisError):
        return _store_failed(part)
    if not part:
        return _not_found(uri)
    return part if len(part) <= SMALL_BYTES else None


def _not_found(uri: str) -> ImageUnavailableError:
    return ImageUnavailableError(
        f"There is no upload {shown_uri(uri)}: it has expired, or is in another Redis; upload it "
        "again.",
        "UPLOAD_NOT_FOUND",
    )


def _store_failed(error: RedisError) -> TemporaryError:
    return TemporaryError(f"The Redis with the uploads failed: {error}.", "UPLOAD_STORE")
