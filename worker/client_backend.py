"""The result backend of our client: Celery's, which subscribes to nothing.

Celery's own subscribes to a result's channel with every task that is sent. That is a round trip for
each, and where results are read elsewhere or never, a subscription that is never given up.
"""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend


class LazyRedisBackend(RedisBackend):  # type: ignore[misc]  # Celery has no type information
    """Reads results as Celery's Redis backend does; sending a task costs it nothing."""

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Do nothing: `worker.handle` asks for results when somebody waits for them."""
