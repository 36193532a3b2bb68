"""Checks of limits: what Redis drops or refuses when it is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.doctor.amounts import shown_bytes
from worker.cli.doctor.finding import Finding, ok, problem, skipped, warning
from worker.runtime.eviction_check import REMEDY, SAFE, danger

if TYPE_CHECKING:
    from worker.cli.doctor.examined_redis import ExaminedRedis

CONNECTIONS_OF_A_WORKER = 24
FULL, NEARLY_FULL = 0.95, 0.8  # of the limit


def check_eviction(redis: ExaminedRedis) -> Finding:
    """Whether Redis may drop messages or results when its memory is full."""
    limit, policy = memory_limit(redis), eviction_policy(redis)
    found = danger(limit, policy)
    remedy = f"{REMEDY[:1].upper()}{REMEDY[1:]} (CONFIG SET maxmemory-policy {SAFE})."
    if limit and policy.startswith("allkeys-"):
        return problem(f"At its memory limit Redis drops any key, queues too ({policy}).", remedy)
    if found:
        return warning(f"Redis {found.partition(';')[0]}.", remedy)
    return ok(f"At its memory limit Redis drops no messages and no results ({policy}).")


def check_memory(redis: ExaminedRedis) -> Finding:
    """How much memory is left."""
    info, limit = redis.info, memory_limit(redis)
    used, whose = int(info.get("used_memory", 0)), "its limit, maxmemory"
    if not limit:
        limit, whose = int(info.get("total_system_memory", 0)), "its machine, without a maxmemory"
    if not limit:
        return ok(f"Redis uses {shown_bytes(used)}, and has no limit that it tells.")
    found = f"Redis uses {shown_bytes(used)} of {shown_bytes(limit)} of {whose}."
    remedy = "Let workers empty the queue, look for other users' keys, or give it more memory."
    if used > FULL * limit:
        return problem(found, remedy)
    return warning(found, remedy) if used > NEARLY_FULL * limit else ok(found)


def check_connections(redis: ExaminedRedis) -> Finding:
    """Whether there is room for a worker's connections."""
    used = int(redis.info.get("connected_clients", 0))
    most = int(redis.info.get("maxclients") or redis.config("maxclients") or 0)
    if not most:
        return skipped(f"{used} clients are connected; this Redis doesn't tell its maxclients.")
    found = f"{used:,} of {most:,} are in use, and a worker needs up to "
    found += f"{CONNECTIONS_OF_A_WORKER}."
    remedy = "Raise maxclients and Redis's limit of open files, or close idle clients."
    if used + CONNECTIONS_OF_A_WORKER > most:
        return problem(found, remedy)
    return warning(found, remedy) if used > NEARLY_FULL * most else ok(found)


def memory_limit(redis: ExaminedRedis) -> int:
    """Its `maxmemory` in bytes; 0 for none."""
    return int(redis.info.get("maxmemory") or redis.config("maxmemory") or 0)


def eviction_policy(redis: ExaminedRedis) -> str:
    """Its `maxmemory-policy`; empty if unknown."""
    return str(redis.info.get("maxmemory_policy") or redis.config("maxmemory-policy") or "")
