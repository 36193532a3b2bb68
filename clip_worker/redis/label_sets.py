"""Stores and reads label sets in Redis, so that tasks need not contain their labels.

Wherever a name is taken, `animals` is the newest version of a set, and `animals@3` its third.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from clip_worker.contract.keys import LABEL_SETS, label_set_key
from clip_worker.contract.label_set_names import LabelSetVersion
from clip_worker.contract.label_sets import LabelSet
from clip_worker.errors import QueueUnavailableError, ServiceError
from clip_worker.quoting import quote
from clip_worker.redis.label_set_commands import (
    ScriptCall,
    StoredVersion,
    check_removed,
    listed_versions,
    put_call,
    remove_calls,
    stored_version,
    unknown_label_set,
)

if TYPE_CHECKING:
    from redis import Redis

KEY_PREFIX = label_set_key("")
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
        fresh_s: How long `get` caches a set, in seconds; 0 reads it each time.
    """

    def __init__(
        self,
        redis: Redis,
        clock: Callable[[], float] = time.monotonic,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._redis = redis
        self._fresh_s = fresh_s
        self._clock = clock
        self._cached: dict[str, _Cached] = {}
        self._lock = threading.Lock()

    def put(self, name: str, label_set: LabelSet) -> StoredVersion:
        """Store a set's next version, unless the newest one has the same content.

        Returns:
            Its number, and whether it is new.

        Raises:
            InvalidRequestError: The name is that of a version.
            QueueUnavailableError: Redis can't be reached.
        """
        call = put_call(name, label_set)
        with _told(f"The label set {quote(name)} can't be stored"):
            return stored_version(self._run(call))

    def remove(self, name: str) -> None:
        """Remove a set with all its versions, or one version (`animals@3`).

        Raises:
            InvalidRequestError: `UNKNOWN_LABEL_SET`; or it is the newest of several versions.
            QueueUnavailableError: Redis can't be reached.
        """
        replies: list[int] = []
        with _told(f"The label set {quote(name)} can't be removed"):
            for call in remove_calls(name):
                if not any(replies):
                    replies.append(self._run(call))
        check_removed(name, replies)

    def versions(self) -> list[LabelSetVersion]:
        """All versions of all sets, by name and number.

        Raises:
            QueueUnavailableError: Redis can't be reached.
            ServiceError: `BAD_LABEL_SET`: the list of versions can't be read.
        """
        with _told("The label sets can't be listed"):
            index: Any = self._redis.hgetall(LABEL_SETS)
        return listed_versions(index)

    def get(self, name: str) -> LabelSet:
        """A set, cached for `fresh_s`: the same object for as long as what is stored stays.

        Raises:
            InvalidRequestError: `UNKNOWN_LABEL_SET`.
            QueueUnavailableError: Redis can't be reached.
            ServiceError: `BAD_LABEL_SET`: the key does not contain a label set.
        """
        now = self._clock()
        with self._lock:
            cached = self._cached.get(name)
        if cached and now - cached.read_at < self._fresh_s:
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
        """The names of all sets, sorted; without those that have no numbers where SCAN is denied.

        Raises:
            QueueUnavailableError: Redis can't be reached.
            ServiceError: `BAD_LABEL_SET`: the list of versions can't be read.
        """
        versions = self.versions()
        listed = {version.name for version in versions}
        return sorted(listed | (self._scanned() - {version.exact_name for version in versions}))

    def _scanned(self) -> set[str]:
        """What is stored under keys like those of sets, which needs the right to list all keys."""
        with _told("The label sets can't be listed"):
            try:
                keys = list(self._redis.scan_iter(match=KEY_PREFIX + "*", count=1000))
            except NoPermissionError:
                return set()
        return {key.decode(errors="replace").removeprefix(KEY_PREFIX) for key in keys}

    def _run(self, call: ScriptCall) -> Any:
        return self._redis.register_script(call.script)(keys=call.keys, args=call.args)

    def _read(self, name: str) -> bytes | None:
        with _told(f"The label set {quote(name)} can't be read"), reading(name):
            return self._redis.get(KEY_PREFIX + name)  # type: ignore[return-value]  # not decoded


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Translate redis-py's errors.

    Raises:
        QueueUnavailableError: What can't be done, and why.
    """
    try:
        yield
    except RedisError as error:
        raise QueueUnavailableError(f"{what}: {error}.") from error


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
        raise unknown_label_set(name)
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
