"""Stores and reads label sets in Redis, so that tasks need not contain their labels."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import RedisError, ResponseError

from clip_worker.contract.label_sets import LabelSet
from clip_worker.errors import InvalidRequestError, QueueUnavailableError, ServiceError
from clip_worker.quoting import quote

if TYPE_CHECKING:
    from redis import Redis

KEY_PREFIX = "clip-worker:label-set:"
FRESH_S = 5.0  # how long a worker caches a set, and thus until it uses a new version


class _Cached(NamedTuple):
    read_at: float
    stored: bytes
    label_set: LabelSet


class LabelSets:
    """The label sets of one Redis. Thread-safe.

    Args:
        redis: Client of the Redis.
        clock: Monotonic seconds.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._cached: dict[str, _Cached] = {}
        self._lock = threading.Lock()

    def put(self, name: str, label_set: LabelSet) -> None:
        """Store a set, or a new version of it.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        try:
            self._redis.set(KEY_PREFIX + name, label_set.to_json())
        except RedisError as error:
            raise QueueUnavailableError(
                f"The label set {name!r} can't be stored: {error}."
            ) from error

    def get(self, name: str) -> LabelSet:
        """A set, cached for 5 seconds: the same object for as long as what is stored stays.

        Raises:
            InvalidRequestError: `UNKNOWN_LABEL_SET`.
            QueueUnavailableError: Redis can't be reached.
            ServiceError: `BAD_LABEL_SET`: the key does not contain a label set.
        """
        now = self._clock()
        with self._lock:
            cached = self._cached.get(name)
        if cached and now - cached.read_at <= FRESH_S:
            return cached.label_set
        stored = self._read(name)
        if cached and stored == cached.stored:
            label_set = cached.label_set
        else:
            label_set = read_label_set(name, stored)
        with self._lock:
            self._cached[name] = _Cached(now, stored or b"", label_set)
        return label_set

    def read(self, name: str) -> LabelSet:
        """A set as it is stored now; for the errors see `get`."""
        return read_label_set(name, self._read(name))

    def names(self) -> list[str]:
        """The names of all sets, sorted.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        try:
            keys = list(self._redis.scan_iter(match=KEY_PREFIX + "*", count=1000))
        except RedisError as error:
            raise QueueUnavailableError(f"The label sets can't be listed: {error}.") from error
        names = (key.decode(errors="replace") for key in keys)
        return sorted({name.removeprefix(KEY_PREFIX) for name in names})

    def _read(self, name: str) -> bytes | None:
        try:
            with reading(name):
                return self._redis.get(KEY_PREFIX + name)  # type: ignore[return-value]  # not decoded
        except RedisError as error:
            raise QueueUnavailableError(
                f"The label set {quote(name)} can't be read: {error}."
            ) from error


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Translate the error of a GET where the key is of another type than a string.

    Raises:
        ServiceError: `BAD_LABEL_SET`.
    """
    try:
        yield
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        raise _unreadable(name) from error


def read_label_set(name: str, stored: bytes | None) -> LabelSet:
    """The label set that a key contains.

    Args:
        name: Of the set.
        stored: What the key contains; None if there is no such key.

    Raises:
        InvalidRequestError: `UNKNOWN_LABEL_SET`.
        ServiceError: `BAD_LABEL_SET`.
    """
    if stored is None:
        raise InvalidRequestError(
            f"There is no label set {quote(name)}; store it with Client.put_label_set.",
            "UNKNOWN_LABEL_SET",
        )
    try:
        return LabelSet.from_json(stored)
    except ValueError as error:
        raise _unreadable(name) from error


def _unreadable(name: str) -> ServiceError:
    return ServiceError(
        f"The stored label set {quote(name)} can't be read; store it again with "
        "Client.put_label_set.",
        "BAD_LABEL_SET",
    )
