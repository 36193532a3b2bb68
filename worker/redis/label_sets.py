"""Label lists that are stored in Redis under a name, so that a task need not carry them."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.contract.text import is_text
from worker.errors import InvalidRequestError, QueueUnavailableError, ServiceError
from worker.quoting import quote

if TYPE_CHECKING:
    from redis import Redis

KEY_PREFIX = "clip-worker:label-set:"
FRESH_S = 5.0  # how long a worker may use what it has read; a new version is in use after that


class LabelSets:
    """The named label sets of one Redis. Threads may share it.

    Args:
        redis: Where the sets lie.
        clock: Seconds, monotonic.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._read: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, labels: Sequence[str]) -> str:
        """Store a set, or a new version of it.

        Returns:
            The version: 12 hexadecimal digits that depend on the labels alone.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        version = hashlib.sha256(json.dumps(list(labels)).encode()).hexdigest()[:12]
        stored = json.dumps({"version": version, "labels": list(labels)})
        try:
            self._redis.set(KEY_PREFIX + name, stored)
        except RedisError as error:
            raise QueueUnavailableError(
                f"The label set {name!r} can't be stored: {error}."
            ) from error
        return version

    def get(self, name: str) -> tuple[str, ...]:
        """The labels of a set; what was read within the last 5 seconds is not read again.

        Raises:
            InvalidRequestError: `UNKNOWN_LABEL_SET`.
            QueueUnavailableError: Redis can't be reached.
            ServiceError: `BAD_LABEL_SET`: the key holds something else.
        """
        now = self._clock()
        with self._lock:
            read_at, labels = self._read.get(name, (float("-inf"), ()))
        if now - read_at <= FRESH_S:
            return labels
        found = self._load(name)
        if found != labels:  # else those are kept: whoever looks them up need not compare them
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
                f"What Redis holds as the label set {quote(name)} is none; store it again with "
                "Client.put_label_set.",
                "BAD_LABEL_SET",
            ) from error


def _label(stored: object) -> str:
    if not (isinstance(stored, str) and is_text(stored)):
        raise ValueError(f"{quote(stored)} is no label")
    return stored
