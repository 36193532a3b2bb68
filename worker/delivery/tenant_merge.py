"""Lets workers on kombu's transport have the messages of tenants, which it does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from clip_worker.contract.keys import QueueKeys
from worker.delivery.redis_queue import source_of

if TYPE_CHECKING:
    from redis import Redis

MERGE_EVERY_S = 0.5
MOST_WAITING = 1000  # messages in the queue's own lists


class TenantMerge:
    """Moves messages of tenants to the lists of their queues, in turns and a few at a time.

    Args:
        redis: Client of the Redis that the queues are in.
        queues: Names of the queues.
        warn: Called with the error if Redis fails.
    """

    def __init__(
        self, redis: Redis, queues: Iterable[str], warn: Callable[[RedisError], object]
    ) -> None:
        self._queues = [QueueKeys(queue) for queue in queues]
        self._script = redis.register_script(source_of("merge"))
        self._warn = warn

    def turn(self) -> None:
        """Move what there is room for; called every `MERGE_EVERY_S`."""
        try:
            for keys in self._queues:
                self._script(keys=keys.lists, args=[keys.tenant_base, MOST_WAITING])
        except RedisError as error:
            self._warn(error)
