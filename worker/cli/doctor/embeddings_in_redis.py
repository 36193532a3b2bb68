"""Checks a store of embeddings in Redis."""

from __future__ import annotations

from contextlib import suppress

from redis.exceptions import NoPermissionError

from worker.cli.doctor.amounts import shown_bytes
from worker.cli.doctor.examined_redis import ExaminedRedis
from worker.cli.doctor.finding import Finding, ok, warning
from worker.cli.doctor.needed_rights import EXAMPLE, SHA, Right
from worker.cli.doctor.redis_limits import NEARLY_FULL, eviction_policy, memory_limit
from worker.cli.doctor.redis_version import check_role
from worker.cli.doctor.rights_checks import examine_rights
from worker.embeddings.redis_values import SIZE, SPACES, USED, shard_key

BUDGET = "CLIP_WORKER_EMBEDDING_STORE_MAX_BYTES"


def check_redis_store(redis: ExaminedRedis) -> Finding:
    """Whether Redis answers, accepts writes, and lets this user keep and search embeddings."""
    return redis.obstacle or redis.examined(lambda: _look(redis))()


def check_redis_budget(redis: ExaminedRedis, budget_bytes: int) -> Finding:
    """Whether Redis has room for all embeddings of the budget, and evicts none by itself."""
    return redis.examined(lambda: _room(redis, budget_bytes))()


def store_rights() -> list[Right]:
    """The commands that a store of embeddings sends, in scripts too."""
    shard = shard_key(EXAMPLE, 0)
    return [
        ("EVALSHA", SHA, "3", USED, SIZE, SPACES),
        ("SCRIPT", "LOAD", ""),
        ("HMGET", shard, "x"),
        ("HSET", shard, "x", "x"),
        ("HSTRLEN", shard, "x"),
        ("HDEL", shard, "x"),
        ("HLEN", shard),
        ("HSCAN", shard, "0"),
        ("HSET", SPACES, "x", "x"),
        ("HGETALL", SPACES),
        ("ZADD", USED, "0", "x"),
        ("ZPOPMIN", USED),
        ("INCRBY", SIZE, "1"),
    ]


def _look(redis: ExaminedRedis) -> Finding:
    rights = examine_rights(redis.client, store_rights(), "that keep embeddings")
    if rights.status != "ok":
        return rights
    with suppress(NoPermissionError):  # INFO, which the store does not need
        if (role := check_role(redis)).status != "ok":
            return role
    return ok(f"Redis at {redis.where} answers, and this user may keep embeddings there.")


def _room(redis: ExaminedRedis, budget_bytes: int) -> Finding:
    limit, policy = memory_limit(redis), eviction_policy(redis)
    if limit and policy.startswith("allkeys-"):
        return warning(
            f"At its memory limit Redis drops any key ({policy}), and so hundreds of embeddings "
            "at once, or the sum by which the budget is kept.",
            "Set its maxmemory-policy to noeviction (CONFIG SET maxmemory-policy noeviction): the "
            "store removes by itself what was not used for longest.",
        )
    room = limit or int(redis.info.get("total_system_memory", 0))
    budget = f"Embeddings may take {shown_bytes(budget_bytes)} ({BUDGET})"
    if not room:
        return ok(f"{budget}, and Redis reports no limit.")
    whose = "that Redis may take (maxmemory)" if limit else "of its machine, without a maxmemory"
    found = f"{budget} of the {shown_bytes(room)} {whose}."
    if budget_bytes > NEARLY_FULL * room:
        return warning(
            f"{found} A full Redis refuses embeddings, and messages if it has the queue.",
            f"Lower {BUDGET} below {100 * NEARLY_FULL:.0f} % of that, or give Redis more memory.",
        )
    return ok(found)
