"""The result backend of our client: Celery's, which subscribes only when somebody waits.

Celery's own subscribes to a result's channel with every task that is sent. That is a round trip for
each, and where results are read elsewhere or never, a subscription that is never given up.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery.backends.redis import RedisBackend, ResultConsumer


class ForgivingResultConsumer(ResultConsumer):  # type: ignore[misc]  # Celery has no type information
    """Gives up a subscription without complaint when the connection is gone, and it with it.

    Celery's own tries to reconnect first, from `AsyncResult.__del__`, and prints a traceback when
    Redis is down.
    """

    def cancel_for(self, task_id: str) -> None:
        """Unsubscribe from a task's channel, if there is still a connection."""
        key = self._get_key_for_task(task_id)
        if key in self.subscribed_to:
            self.subscribed_to.discard(key)
            with suppress(*self._connection_errors):
                self._pubsub.unsubscribe(key)


class LazyRedisBackend(RedisBackend):  # type: ignore[misc]  # Celery has no type information
    """Reads results as Celery's Redis backend does; sending a task costs it nothing."""

    ResultConsumer = ForgivingResultConsumer

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Do nothing: `AsyncResult.get` subscribes, then reads what is there already."""
