"""Notifications in a list of Redis, as MinIO's Redis target writes them (format `access`)."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clip_worker.feeds.notifications.source import Message
from clip_worker.redis.error_translation import translated
from clip_worker.redis.url import connect

if TYPE_CHECKING:
    from redis import Redis

WAIT_S = 1
MOST = 500  # messages that are moved at a time
MOST_REJECTED = 10_000
TAKEN, REJECTED = "clip-worker-taken", "clip-worker-rejected"


class RedisListSource:
    """Moves messages from the left of a list to a second one, where they stay until deleted.

    One process reads a list: at its start it takes what a process before it has left in the second
    list, and so it does after a lost connection.

    Args:
        url: Of the Redis.
        key: Of the list.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key
        self._taken, self._rejected = f"{key}:{TAKEN}", f"{key}:{REJECTED}"
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._is_complete = False  # whether all that is in the second list is held
        self._client: Redis | None = None

    def open(self) -> None:
        """Connect; see `MessageSource`."""
        self._client = connect(self._url, retries=0)  # a move must not run twice
        with translated(self._url):
            self._redis.ping()

    def receive(self) -> Sequence[Message]:
        """Move messages; see `MessageSource`."""
        was_complete, self._is_complete = self._is_complete, False
        with translated(self._url):
            bodies = self._move() if was_complete else self._left_behind()
        self._is_complete = True
        with self._lock:
            self._held.update(bodies)
        return [Message(f"{next(self._numbers)}:{body}", body) for body in bodies]

    def keep(self, receipts: Sequence[str]) -> None:
        """Messages stay in the second list for as long as it takes."""

    def delete(self, receipts: Sequence[str]) -> None:
        """Remove messages from the second list; see `MessageSource`."""
        bodies = [receipt.partition(":")[2] for receipt in receipts]
        with translated(self._url), self._redis.pipeline(transaction=False) as pipeline:
            for body in bodies:
                pipeline.lrem(self._taken, 1, _encoded(body))  # type: ignore[arg-type]  # bytes are fine
            pipeline.execute()
        self._let_go(bodies)

    def reject(self, message: Message) -> None:
        """Move a message to a third list; see `MessageSource`."""
        with translated(self._url), self._redis.pipeline() as pipeline:
            pipeline.lrem(self._taken, 1, _encoded(message.body))  # type: ignore[arg-type]  # bytes are fine
            pipeline.rpush(self._rejected, _encoded(message.body))
            pipeline.ltrim(self._rejected, -MOST_REJECTED, -1)
            pipeline.execute()
        self._let_go([message.body])

    def close(self, receipts: Sequence[str]) -> None:  # noqa: ARG002  # they stay where they are
        """Disconnect."""
        if self._client is not None:
            self._client.close()

    @property
    def _redis(self) -> Redis:
        assert self._client is not None, "the source is not open"
        return self._client

    def _move(self) -> list[str]:
        first = self._redis.blmove(self._key, self._taken, WAIT_S, "LEFT", "RIGHT")
        if first is None:
            return []
        with self._redis.pipeline(transaction=False) as pipeline:
            for _ in range(min(MOST, self._redis.llen(self._key))):
                pipeline.lmove(self._key, self._taken, "LEFT", "RIGHT")
            return [_decoded(body) for body in [first, *pipeline.execute()] if body is not None]

    def _left_behind(self) -> list[str]:
        there = Counter(map(_decoded, self._redis.lrange(self._taken, 0, -1)))
        with self._lock:
            return [*(there - self._held).elements()]

    def _let_go(self, bodies: Sequence[str]) -> None:
        with self._lock:
            self._held -= Counter(bodies)


def _decoded(value: bytes | str) -> str:
    assert isinstance(value, bytes)
    return value.decode(errors="surrogateescape")


def _encoded(body: str) -> bytes:
    return body.encode(errors="surrogateescape")
