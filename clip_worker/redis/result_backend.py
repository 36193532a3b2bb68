"""Celery's Redis result backends, but results are stored even if Redis's memory is full.

They are kept for as long as the task asks (`result_ttl_s`).

The message of a task that Celery runs is removed only after its result is stored. If Redis rejected
the result, the message would stay and its memory would never be freed.
"""

from __future__ import annotations

from typing import Any

from celery.backends import redis
from redis.exceptions import ResponseError

from clip_worker.contract.requests import TASK_PREFIX, asked_ttl_s
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

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        stored = super()._store_result(task_id, result, state, traceback, request, **kwargs)
        if ttl_s := self._ttl_s(request):
            self.client.expire(self.get_key_for_task(task_id), ttl_s)
        return stored

    def _ttl_s(self, request: Any) -> int | None:
        """For how long one of our tasks asks its result to be kept, if that is shorter."""
        arguments = getattr(request, "kwargs", None)
        if not isinstance(arguments, dict) or not str(request.task).startswith(TASK_PREFIX):
            return None
        asked_s = asked_ttl_s(arguments)
        return asked_s and min(asked_s, self.expires or asked_s)

    def _set(self, key: str, value: str) -> None:
        try:
            super()._set(key, value)
        except ResponseError as error:
            if fault_of(error) is not Fault.MEMORY:
                raise
            self.client.eval(_STORE, 1, key, value, self.expires or 0)


class SentinelResultBackend(ResultBackend, redis.SentinelBackend):  # type: ignore[misc]  # likewise
    """The backend for the master that the sentinels name."""
