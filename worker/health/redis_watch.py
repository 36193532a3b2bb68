"""Asks Redis every two seconds whether it is there, so that a probe never has to."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from clip_worker.errors import QueueUnavailableError
from clip_worker.redis.error_translation import translated
from clip_worker.redis.url import connect

if TYPE_CHECKING:
    from worker.health.health import Health

PAUSE_S = 2.0


class RedisWatch:
    """One thread that pings the broker, and the Redis for results if that is another one.

    Args:
        urls: Of both.
        health: Is told of each answer, and of each failure.
    """

    def __init__(self, urls: Iterable[str], health: Health) -> None:
        self._clients = {url: connect(url, retries=0, most=1) for url in urls}
        self._health = health
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="redis-watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; it is not waited for, because Redis may hang."""
        self._stopping.set()

    def turn(self) -> None:
        """Ask once."""
        try:
            for url, redis in self._clients.items():
                with translated(url):
                    redis.ping()
        except QueueUnavailableError as error:
            self._health.redis_failed(error.message)
        else:
            self._health.redis_answered()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self.turn()
            self._stopping.wait(PAUSE_S)
        for redis in self._clients.values():
            redis.close()
