"""Celery's Redis result backends, but they store results even if Redis's memory is full.

The message of a task that Celery runs is removed only after its result is stored. If Redis rejected
the result, the message would stay and its memory would never be freed.
"""

from __future__ import annotations

from celery.backends import redis
from redis.exceptions import ResponseError

from clip_worker.redis.errors import Fault, fault_of

# Redis checks its memory only at a script's first write, and DEL needs none.
_STORE = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
"""


class ResultBackend(redis.RedisBackend):  # type: ignore[misc]  # Celery has no type information
    """The backend for one server."""

    def _set(self, key: str, value: str) -> None:
        try:
            super()._set(key, value)
        except ResponseError as error:
            if fault_of(error) is not Fault.MEMORY:
                raise
            self.client.eval(_STORE, 1, key, value, self.expires or 0)


class SentinelResultBackend(ResultBackend, redis.SentinelBackend):  # type: ignore[misc]  # likewise
    """The backend for the master that the sentinels name."""
