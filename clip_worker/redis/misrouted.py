"""Finds tasks for clip-worker that were sent to Celery's default queue, where no worker is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from redis import Redis

CELERY_QUEUE = "celery"
# Only the message's task leaves Redis. KEYS: queue. -> messages, name of the oldest one's task
_LOOK = """
local entry = redis.call('LINDEX', KEYS[1], -1)
local task = entry and string.match(entry, '"task"%s*:%s*"(clip%.[%w_]+)"')
return {redis.call('LLEN', KEYS[1]), task or ''}
"""


def misrouted(redis: Redis) -> int:
    """Messages in the queue `celery`, if the oldest is a task of clip-worker; else 0.

    A message of a backend's own tasks is left to its workers.

    Args:
        redis: Client of the Redis that the queue is in.

    Raises:
        RedisError: Redis can't be reached, or forbids a command.
    """
    look = redis.register_script(_LOOK)
    count, task = cast("tuple[int, bytes]", look(keys=[CELERY_QUEUE]))
    return count if task else 0
