"""What workers hold of a queue, each in a hash of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clip_worker.contract.keys import QueueKeys

if TYPE_CHECKING:
    import redis

    from worker.delivery.redis_queue import Look, RedisQueue

GAP_S = 5.0  # longest time between two looks for lapsed leases
NOWHERE = {"queue": 0, "suspects": 0, "unacked": 0, "started": 0}
KEYS = QueueKeys("q")  # of a queue that a test writes to by itself


def unacked(server: redis.Redis, keys: QueueKeys) -> int:
    """How many messages are in flight, on all workers."""
    return sum(server.hlen(key) for key in server.scan_iter(keys.unacked("*"), count=1000))


def started(server: redis.Redis, keys: QueueKeys) -> dict[bytes, bytes]:
    """The lines of what has been started, by tag."""
    found = {}
    for key in server.scan_iter(keys.started("*"), count=1000):
        found.update(server.hgetall(key))
    return found


def accuse(server: redis.Redis, keys: QueueKeys, crashes: int) -> None:
    """Leave the next message of the queue as workers leave it that died of it, each time alone."""
    line = b"1.0 1 gone\n"
    message = server.rpop(keys.queue)
    assert isinstance(message, bytes)
    history = b"%s\n%d\n%s" % (keys.queue.encode(), crashes, line * crashes)
    server.lpush(keys.suspects, history + message)


def lapse(server: redis.Redis, queue: RedisQueue, other: RedisQueue) -> Look:
    """A worker's lease lapses, and another worker looks."""
    other.reap(GAP_S)
    server.zadd(KEYS.leases, {queue.lease.name: time.time() - 1}, xx=True)
    return other.reap(GAP_S)


def everywhere(server: redis.Redis) -> dict[str, int]:
    """How many messages are in each place."""
    return {
        "queue": server.llen("q"),
        "suspects": server.llen(KEYS.suspects),
        "unacked": unacked(server, KEYS),
        "started": len(started(server, KEYS)),
    }


def left_s(server: redis.Redis, queue: RedisQueue) -> float:
    """Until a worker's lease lapses, by Redis's clock."""
    return float(server.zscore(KEYS.leases, queue.lease.name) or 0) - time.time()
