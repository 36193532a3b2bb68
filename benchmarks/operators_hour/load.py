"""A producer that keeps the queue filled, and knows what it has sent."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Sequence

from redis import Redis
from redis.exceptions import RedisError

from clip_worker import Client
from clip_worker.contract.celery_result import result_key
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.errors import ClipWorkerError

LABELS = ("circle", "square", "triangle", "star")
PAUSE_S = 0.2
AT_ONCE = 20
CHUNK = 500  # results that are read at once


class Load:
    """Sends tasks from a thread, as long as fewer than `waiting` wait.

    Args:
        url: URL of Redis.
        images: URIs that are sent in turn.
        waiting: Messages in the queue.

    Attributes:
        url: Of Redis; a new one is used from the next messages on.
        sent: Ids of the tasks that Redis has accepted.
        refused: How often sending failed, by the error's sentence.
    """

    def __init__(self, url: str, images: Sequence[str], waiting: int) -> None:
        self.url = url
        self.sent: list[str] = []
        self.refused: Counter[str] = Counter()
        self._images = itertools.cycle(images)
        self._waiting = waiting
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="load")

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            url = self.url
            with Client(url) as client, Redis.from_url(url) as redis:
                while self.url == url and not self._stopping.wait(PAUSE_S):
                    self._fill(client, redis)

    def _fill(self, client: Client, redis: Redis) -> None:
        try:
            while redis.llen(DEFAULT_QUEUE) < self._waiting and not self._stopping.is_set():
                for _ in range(AT_ONCE):
                    self.sent.append(client.classify(next(self._images), LABELS).id)
        except (ClipWorkerError, RedisError) as error:
            self.refused[str(error)] += 1


def outcomes(redis: Redis, ids: Sequence[str]) -> Counter[str]:
    """How many tasks have which status; `missing` for those without a result."""
    found: Counter[str] = Counter()
    for start in range(0, len(ids), CHUNK):
        keys = [result_key(each) for each in ids[start : start + CHUNK]]
        for result in redis.mget(keys):
            is_success = result is not None and result.startswith(b'{"status": "SUCCESS"')
            found["succeeded" if is_success else "failed" if result else "missing"] += 1
    return found
