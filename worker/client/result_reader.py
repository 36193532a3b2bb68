"""Reads results from Redis as Celery stores them, without Celery's connections.

Celery's own client subscribes to a channel for every task that it sends, a round trip each, and
misses what was published while its connection was lost. Here one MGET reads any number of results,
and a thread that waits for a single one subscribes only while it waits
(`worker.client.subscription`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from celery.states import READY_STATES
from kombu.exceptions import DecodeError

from worker.client.subscription import Ears, Watch
from worker.contract.keys import RESULT_PREFIX
from worker.contract.text import read_json
from worker.redis.error_translation import translated

if TYPE_CHECKING:
    from celery import Celery
    from redis import Redis

_SUCCESS = b'{"status": "SUCCESS", "result": '
DEFAULT_TTL_S = 86_400.0  # what workers keep results for, unless set otherwise


class StoredResults:
    """The results that workers have stored. Threads may share it.

    Args:
        redis: That they are in.
        subscribed: Another client of the same Redis, for subscriptions, each of which keeps a
            connection for as long as it lasts.
        url: Of that Redis, for sentences.
        app: Celery application whose backend has the same URL; it connects to nothing here.
        ttl_s: How long the workers keep results, in seconds.
    """

    def __init__(
        self,
        redis: Redis,
        subscribed: Redis,
        url: str,
        app: Celery,
        ttl_s: float = DEFAULT_TTL_S,
    ) -> None:
        self.ttl_s = ttl_s
        self._redis = redis
        self._url = url
        self._app = app
        self._subscribed = subscribed
        self._ears = Ears(subscribed)

    def watch(self, task_ids: Sequence[str]) -> Watch:
        """What to wait on for the first of these; leave it in the end.

        Several are asked for all at once, which costs as much as one: they need no subscription.
        """
        alone = task_ids[0] if len(task_ids) == 1 else None
        return Watch(self._ears, alone and RESULT_PREFIX + alone)

    def close(self) -> None:
        """Close the connections of past subscriptions."""
        self._ears.close()
        self._subscribed.close()

    def read(self, task_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """What is stored for each task: its `status` and `result`; None if there is nothing.

        Where the status is a failure's, the result is an exception.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        backend = self._app.backend
        keys = [backend.get_key_for_task(task_id) for task_id in task_ids]
        with translated(self._url):
            stored = cast("list[bytes | None]", self._redis.mget(keys))
        # Outside of the block: an exception that a task failed with is no failure of Redis.
        return [None if value is None else self._decoded(value) for value in stored]

    def if_ended(self, published: bytes) -> dict[str, Any] | None:
        """What was published for a task, as `read` gives it; None if it tells of no end."""
        try:
            stored = self._decoded(published)
            return stored if stored["status"] in READY_STATES else None
        except (DecodeError, KeyError, TypeError, ValueError):  # anybody may publish anything
            return None

    def _decoded(self, stored: bytes) -> dict[str, Any]:
        # Of a success without types of kombu's own Celery makes nothing but plain JSON, slowly.
        if stored.startswith(_SUCCESS) and b'"__type__"' not in stored:
            return cast("dict[str, Any]", read_json(stored))
        return cast("dict[str, Any]", self._app.backend.decode_result(stored))

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
