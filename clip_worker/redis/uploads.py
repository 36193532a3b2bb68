"""Images that clients have uploaded to Redis, named by their SHA-256."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError

from clip_worker.contract.keys import upload_key, upload_users_key
from clip_worker.contract.uri import upload_digest, upload_uri
from clip_worker.contract.uri_errors import too_large
from clip_worker.errors import ImageUnavailableError, InvalidRequestError, TemporaryError
from clip_worker.quoting import shown_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

DEFAULT_TTL_S = 86_400.0
# KEYS: an upload, its users. ARGV: a claim.
_DISCARD = """
if redis.call('SREM', KEYS[2], ARGV[1]) == 1 and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[1])
end
"""
KEEP = "keep"  # a user that never ends
SMALL_BYTES = 512 * 1024
_REDIS_STRING_MAX_BYTES = 512 * 1024 * 1024


class UploadStore:
    """Stores uploads in Redis for a while; used by clients and workers.

    The URI's `uploads` is not a host: nothing ever connects to a host that a URI names.

    Args:
        redis_client: A client that returns bytes (`decode_responses=False`).
        ttl_s: Seconds that an upload is kept after it was last stored.
    """

    def __init__(self, redis_client: Redis, ttl_s: float = DEFAULT_TTL_S) -> None:
        self._redis = redis_client
        self._ttl_s = ttl_s

    def put(self, data: bytes, *, keep: bool = False, name: str | None = None) -> str:
        """Store an image and return its URI, `redis://uploads/<sha256>/<name>#<claim>`.

        The same bytes are stored once; storing them again restarts their lifetime.

        Args:
            data: The bytes of an image file.
            keep: Whether it is kept until it expires; else it is deleted with its last task. Then
                the URI has no claim.
            name: How readers of the URI know it.

        Raises:
            InvalidRequestError: `EMPTY_UPLOAD`.
            TemporaryError: `UPLOAD_STORE`: Redis can't be reached, or is full.
        """
        uri, commands = put_commands(data, self._ttl_s, keep=keep, name=name)
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's
                replies = pipe.execute(raise_on_error=False)
        except RedisError as error:
            raise _store_failed(error) from error
        for reply in replies:
            if isinstance(reply, RedisError):
                raise _store_failed(reply) from reply
        return uri

    def discard(self, uri: str) -> None:
        """Give up the claim of a URI, and delete the upload if nobody else uses it.

        Raises:
            InvalidRequestError: `BAD_URI`.
            TemporaryError: `UPLOAD_STORE`: Redis can't be reached.
        """
        try:
            self._redis.execute_command(*discard_command(uri))  # type: ignore[no-untyped-call]  # redis-py's
        except RedisError as error:
            raise _store_failed(error) from error

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
        key = upload_key(upload_digest(uri))
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
        keys = [_key(uri) for uri in uris]
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


def put_commands(
    data: bytes, ttl_s: float, *, keep: bool, name: str | None = None
) -> tuple[str, list[tuple[Any, ...]]]:
    """An image's URI, and the commands that store it, in order; see `UploadStore.put`.

    The claim comes before the image, or a task that ends in between could delete it.

    Raises:
        InvalidRequestError: `EMPTY_UPLOAD`.
    """
    if not data:
        raise InvalidRequestError(
            "The upload has 0 bytes; pass the bytes of an image file.", "EMPTY_UPLOAD"
        )
    digest, claim = hashlib.sha256(data).hexdigest(), secrets.token_hex(8)
    users, ttl_ms = upload_users_key(digest), int(ttl_s * 1000)
    commands = [
        ("SADD", users, KEEP if keep else claim),
        ("SET", upload_key(digest), data, "PX", ttl_ms),
        ("PEXPIRE", users, ttl_ms),
    ]
    return upload_uri(digest, "" if keep else claim, name), commands


def discard_command(uri: str) -> tuple[Any, ...]:
    """The command that gives up a URI's claim; see `UploadStore.discard`.

    Raises:
        InvalidRequestError: `BAD_URI`.
    """
    digest = upload_digest(uri)
    claim = uri.partition("#")[2]
    return "EVAL", _DISCARD, 2, upload_key(digest), upload_users_key(digest), claim


def _key(uri: str) -> str | InvalidRequestError:
    try:
        return upload_key(upload_digest(uri))
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
        f"There is no upload {shown_uri(uri)}: it was deleted with its last task, has expired, or "
        "is in another Redis; upload it again, with keep=True if tasks to come need it too.",
        "UPLOAD_NOT_FOUND",
    )


def _store_failed(error: RedisError) -> TemporaryError:
    return TemporaryError(f"The Redis with the uploads failed: {error}.", "UPLOAD_STORE")
