"""Named lists of labels in Redis, so that tasks need not contain the labels."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from clip_worker.contract.text import is_text
from clip_worker.errors import InvalidRequestError, QueueUnavailableError, ServiceError
from clip_worker.quoting import quote

if TYPE_CHECKING:
    from redis import Redis

KEY_PREFIX = "clip-worker:label-set:"
FRESH_S = 5.0  # how long a worker caches a set, and thus until it uses a new version


class LabelSets:
    """The label sets of one Redis. Thread-safe.

    Args:
        redis: Client of the Redis.
        clock: Monotonic seconds.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._read: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, labels: Sequence[str]) -> str:
        """Store a set, or a new version of it.

        Returns:
            The version: 12 hexadecimal digits that depend only on the labels.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        version, stored = encode_label_set(labels)
        try:
            self._redis.set(KEY_PREFIX + name, stored)
        except RedisError as error:
            raise QueueUnavailableError(
                f"The label set {name!r} can't be stored: {error}."
            ) from error
        return version

    def get(self, name: str) -> tuple[str, ...]:
        """The labels of a set, cached for 5 seconds.

        Raises:
            InvalidRequestError: `UNKNOWN_LABEL_SET`.
            QueueUnavailableError: Redis can't be reached.
            ServiceError: `BAD_LABEL_SET`: the key does not contain a label set.
        """
        now = self._clock()
        with self._lock:
            read_at, labels = self._read.get(name, (float("-inf"), ()))
        if now - read_at <= FRESH_S:
            return labels
        found = self._load(name)
        if found != labels:  # else return the same object, which callers recognise by identity
            labels = found
        with self._lock:
            self._read[name] = (now, labels)
        return labels

    def _load(self, name: str) -> tuple[str, ...]:
        try:
            stored = self._redis.get(KEY_PREFIX + name)
        except RedisError as error:
            raise QueueUnavailableError(
                f"The label set {quote(name)} can't be read: {error}."
            ) from error
        if stored is None:
            raise InvalidRequestError(
                f"There is no label set {quote(name)}; store it with Client.put_label_set.",
                "UNKNOWN_LABEL_SET",
            )
        try:
            return tuple(map(_label, json.loads(stored)["labels"]))
        except (ValueError, LookupError, TypeError) as error:
            raise ServiceError(
                f"The stored label set {quote(name)} can't be read; store it again with "
                "Client.put_label_set.",
                "BAD_LABEL_SET",
            ) from error


def encode_label_set(labels: Sequence[str]) -> tuple[str, str]:
    """A label set's version, and what is stored."""
    version = hashlib.sha256(json.dumps(list(labels)).encode()).hexdigest()[:12]
    return version, json.dumps({"version": version, "labels": list(labels)})


def _label(stored: object) -> str:
    if not (isinstance(stored, str) and is_text(stored)):
        raise ValueError(f"{quote(stored)} is not a label")
    return stored
