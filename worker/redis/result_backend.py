"""Celery's Redis result backends, made to store results when Redis's memory is full too.

The message of a task that Celery runs is removed only once its result is stored. If Redis refused
the result, the message would stay, and so would the memory that it takes.
"""

from __future__ import annotations

from celery.backends import redis
from redis.exceptions import ResponseError

from worker.redis.errors import Fault, fault_of

# Redis refuses a script's first write if it may need memory, and none after it.
_STORE = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
"""


class ResultBackend(redis.RedisBackend):  # type: ignore[misc]  # Celery has no type information
    """For one server."""

    def _set(self, key: str, value: str) -> None:
        try:
            super()._set(key, value)
        except ResponseError as error:
            if fault_of(error) is not Fault.MEMORY:
                raise
            self.client.eval(_STORE, 1, key, value, self.expires or 0)


class SentinelResultBackend(ResultBackend, redis.SentinelBackend):  # type: ignore[misc]  # likewise
    """For the master that sentinels name."""
