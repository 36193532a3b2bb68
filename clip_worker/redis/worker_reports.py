"""What the workers of a queue report about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from clip_worker.contract.keys import QueueKeys
from clip_worker.contract.worker_report import FORGOTTEN_AFTER_S, WorkerReport

if TYPE_CHECKING:
    from redis import Redis

# By Redis's clock: a worker whose own is wrong must not drop the reports of the others.
_PUT = """
redis.call('ZREM', KEYS[1], '') -- lets the writes below pass where memory is full
local now = tonumber(redis.call('TIME')[1])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
"""


class WorkerReports:
    """The reports about one queue. Each method is a round trip or two, and may raise `RedisError`.

    Args:
        redis: Client of the Redis that the queue is in; it returns bytes.
        queue: Name of the queue.
    """

    def __init__(self, redis: Redis, queue: str) -> None:
        self._redis = redis
        self._keys = QueueKeys(queue)
        self._put = redis.register_script(_PUT)

    def put(self, report: WorkerReport) -> None:
        """Store a worker's report in place of its last one; it is forgotten after a while."""
        keys = [self._keys.reports, self._keys.report(report.worker)]
        args: list[str | int] = [report.worker, report.model_dump_json(), int(FORGOTTEN_AFTER_S)]
        self._put(keys=keys, args=args)

    def remove(self, worker: str) -> None:
        """Forget a worker that has ended."""
        self._redis.zrem(self._keys.reports, worker)
        self._redis.delete(self._keys.report(worker))

    def all(self) -> list[WorkerReport]:
        """The last report of each worker, by name; one that can't be read is left out."""
        stored: Any = self._redis.zrange(self._keys.reports, 0, -1)
        names = sorted(name.decode(errors="replace") for name in stored)
        found: Any = self._redis.mget([self._keys.report(name) for name in names]) if names else []
        return [report for each in found if each and (report := _read(each)) is not None]


def _read(stored: bytes) -> WorkerReport | None:
    try:
        return WorkerReport.model_validate_json(stored)
    except ValidationError:  # of a version that is too different, or nobody's
        return None
