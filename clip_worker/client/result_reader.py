"""Reads results from Redis as Celery stores them, without Celery's connections.

Celery's own client subscribes to a channel for every task that it sends, which takes a round trip
each, and misses what is published while its connection is lost. Here one MGET reads any number of
results, and a thread that waits for a single one subscribes only while it waits
(`clip_worker.client.subscription`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from celery.states import READY_STATES

from clip_worker.client.result_decoder import ResultDecoder
from clip_worker.client.subscription import ResultSubscription, SubscriptionPool
from clip_worker.contract.keys import RESULT_PREFIX
from clip_worker.redis.error_translation import translated

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

    from clip_worker.contract.keys import QueueKeys

DEFAULT_TTL_S = 86_400.0  # how long workers keep results by default


class ResultReader:
    """Reads the results that workers have stored. Thread-safe.

    Args:
        redis: Client of the Redis that results are stored in.
        subscribed: Another client of the same Redis, for subscriptions: each occupies a
            connection for as long as it lasts.
        url: URL of that Redis, for error messages.
        app: Celery application whose backend has the same URL; it never connects.
        ttl_s: How long the workers keep results, in seconds.
        sent: The Redis with the queue and the names there, where it is noted that a task was sent.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        redis: Redis,
        subscribed: Redis,
        url: str,
        app: Celery,
        ttl_s: float = DEFAULT_TTL_S,
        *,
        sent: tuple[Redis, QueueKeys] | None = None,
    ) -> None:
        self._sent = sent
        self.ttl_s = ttl_s
        self._redis = redis
        self._url = url
        self._app = app
        self._decoder = ResultDecoder(app)
        self._subscribed = subscribed
        self._subscriptions = SubscriptionPool(subscribed)

    def subscribe(self, task_ids: Sequence[str]) -> ResultSubscription:
        """What to wait on for any of these tasks to end; close it afterwards.

        Only a single task gets a subscription. Several are polled together, which costs as much
        as polling one.
        """
        single = task_ids[0] if len(task_ids) == 1 else None
        return ResultSubscription(self._subscriptions, single and RESULT_PREFIX + single)

    def close(self) -> None:
        """Close all connections."""
        self._subscriptions.close()
        self._subscribed.close()
        self._redis.close()
        self._app.close()

    def read(self, task_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """What is stored for each task: its `status` and `result`, or None if there is nothing.

        The result of a failed task is an exception.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        keys = [RESULT_PREFIX + task_id for task_id in task_ids]
        with translated(self._url):
            stored = cast("list[bytes | None]", self._redis.mget(keys))
        # Outside the block: an exception that a task failed with is not an error of Redis.
        return [None if value is None else self._decoder.decode(value) for value in stored]

    def forget(self, *task_ids: str) -> None:
        """Delete tasks' results, and the notes that they were sent.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        with translated(self._url):
            self._redis.delete(*(RESULT_PREFIX + task_id for task_id in task_ids))
            if self._sent:
                redis, keys = self._sent
                redis.delete(*map(keys.sent, task_ids))

    def lost(self, task_ids: Sequence[str]) -> set[str]:
        """Those ids, of the caller's own, of which Redis has neither a note nor a result.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        if not (self._sent and task_ids):
            return set()
        redis, keys = self._sent
        with translated(self._url):
            notes = cast("list[bytes | None]", redis.mget(map(keys.sent, task_ids)))
        unknown = [each for each, note in zip(task_ids, notes, strict=True) if note is None]
        results = self.read(unknown) if unknown else []
        return {each for each, stored in zip(unknown, results, strict=True) if stored is None}

    def if_ended(self, published: bytes) -> dict[str, Any] | None:
        """A published message, as `read` returns it; None if the task has not ended with it."""
        return self._decoder.if_ended(published)

    def ended(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is stored for those tasks that have ended, with a result or a failure.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        pairs = zip(task_ids, self.read(task_ids), strict=True)
        return {
            task_id: stored
            for task_id, stored in pairs
            if stored is not None and stored["status"] in READY_STATES
        }
