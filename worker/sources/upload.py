"""Images that clients have uploaded to Redis, named by their SHA-256."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from worker.contract.uri import UPLOAD_PREFIX, upload_digest
from worker.contract.uri_errors import too_large
from worker.errors import ImageUnavailableError, InvalidRequestError, TemporaryError
from worker.quoting import shown_uri
from worker.sources.reservation import FIRST_BYTES, Reserve, unlimited

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    from worker.sources.policy import FetchLimits

DEFAULT_TTL_S = 86_400.0
SMALL_BYTES = 512 * 1024
_REDIS_STRING_MAX_BYTES = 512 * 1024 * 1024
_COPIES = 2  # of a reply, while redis-py reads it
_FIRST_BYTES = FIRST_BYTES // _COPIES


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

    def get(
        self,
        uri: str,
        max_bytes: int = _REDIS_STRING_MAX_BYTES - 1,
        reserve: Reserve = unlimited,
    ) -> bytes:
        """Read an upload.

        Args:
            uri: The URI that `put` returned.
            max_bytes: Maximum size of the upload.
            reserve: As for `Fetcher.fetch`.

        Raises:
            InvalidRequestError: `BAD_URI`.
            ImageUnavailableError: `UPLOAD_NOT_FOUND`: never stored, or expired; `FETCH_TOO_LARGE`.
            TemporaryError: `UPLOAD_STORE`: Redis can't be reached.
        """
        key = self._prefix + upload_digest(uri)
        try:
            data = self._read(key, uri, max_bytes, reserve)
        except RedisError as error:
            raise _store_failed(error) from error
        if not data:
            raise _not_found(uri)
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

    def _read(self, key: str, uri: str, max_bytes: int, reserve: Reserve) -> bytes:
        """The whole value; empty if the key does not exist. Small ones take one round trip."""
        first = min(_FIRST_BYTES, max_bytes + 1)
        data = cast("bytes", self._redis.getrange(key, 0, first - 1))
        if len(data) < first:
            return data
        size = self._redis.strlen(key)
        if size > max_bytes:
            raise too_large(uri, max_bytes)
        if size > first:
            reserve(_COPIES * size)
            data = cast("bytes", self._redis.getrange(key, 0, size - 1))
        return data


class UploadSource:
    """Reads `redis://uploads/` URIs.

    Args:
        store: Store of the uploads.
        limits: The size limit applies.
    """

    def __init__(self, store: UploadStore, limits: FetchLimits) -> None:
        self._store = store
        self._limits = limits

    def fetch(self, uri: str, reserve: Reserve = unlimited) -> bytes:
        """Read an upload; raises the errors of `UploadStore.get`."""
        return self._store.get(uri, self._limits.max_bytes, reserve)


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
