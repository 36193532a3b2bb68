"""The checks of group `redis`: the server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.doctor.check import Check
from worker.cli.doctor.redis_latency import check_clock, check_latency
from worker.cli.doctor.redis_limits import check_connections, check_eviction, check_memory
from worker.cli.doctor.redis_persistence import check_persistence
from worker.cli.doctor.redis_version import check_role, check_version

if TYPE_CHECKING:
    from worker.cli.doctor.subject import Subject

GROUP = "redis"


def redis_checks(subject: Subject) -> list[Check]:
    """Checks of the Redis that the queue is in."""
    redis = subject.redis
    looks = {
        "version": check_version,
        "role": check_role,
        "eviction": check_eviction,
        "memory": check_memory,
        "persistence": check_persistence,
        "connections": check_connections,
        "latency": check_latency,
        "clock": check_clock,
    }

    def on_redis(name: str) -> Check:
        return Check(GROUP, name, redis.examined(lambda: looks[name](redis)))

    return [Check(GROUP, "reachable", redis.reach), *map(on_redis, looks)]
