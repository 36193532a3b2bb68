"""The commands that a client or a worker sends, on the keys that it sends them for.

They are examples for an access list: `DOCTOR` stands for any task, upload or worker. What only
other tasks of the application need (chains, chords) is not among them.
"""

from __future__ import annotations

from itertools import product

from clip_worker.contract.celery_result import result_key
from clip_worker.contract.keys import (
    LABEL_SETS,
    NEW_LABEL_SETS,
    PRIORITY_STEPS,
    QueueKeys,
    dead_index_key,
    dead_key,
    label_set_key,
    text_features_key,
    text_leases_key,
    upload_key,
    upload_users_key,
)

Right = tuple[str, ...]
EXAMPLE = "DOCTOR"
SHA = 40 * "0"
PIDBOX = "_kombu.binding.celery.pidbox"  # kombu's: the queues of Celery's remote control


def client_rights(queue: str) -> list[Right]:
    """What a producer needs to send, upload, store label sets, and read results."""
    keys = QueueKeys(queue)
    upload, users = upload_key(EXAMPLE), upload_users_key(EXAMPLE)
    result, label_set = result_key(EXAMPLE), label_set_key(EXAMPLE)
    return [
        ("EVALSHA", SHA, "0"),
        ("SCRIPT", "LOAD", ""),
        ("MULTI",),
        ("EXEC",),
        *product(("LLEN",), keys.lists),
        *product(("LPUSH",), keys.lists, ("x",)),
        *_tenant_rights(keys),
        ("SET", keys.sent(EXAMPLE), "1"),
        ("EXISTS", keys.sent(EXAMPLE)),
        ("SET", upload, "x"),
        ("PTTL", upload),
        ("EXISTS", users),
        ("DEL", upload),
        ("SADD", users, "x"),
        ("SREM", users, "x"),
        ("PEXPIRE", users, "1"),
        ("MGET", result),
        ("DEL", result),
        ("SUBSCRIBE", result),
        *product(("GET", "EXISTS", "DEL"), (label_set,)),
        ("SET", label_set, "x"),
        ("EVALSHA", SHA, "3", label_set, LABEL_SETS, NEW_LABEL_SETS),
        ("HGET", LABEL_SETS, "x"),
        ("HGETALL", LABEL_SETS),
        ("HSET", LABEL_SETS, "x", "x"),
        ("HDEL", LABEL_SETS, "x"),
        ("XADD", NEW_LABEL_SETS, "MAXLEN", "1", "*", "name", "x"),
    ]


def worker_rights(queue: str, *, remote_control: bool, db: int) -> list[Right]:
    """What a worker needs on its own queue path.

    Args:
        queue: Name of the queue.
        remote_control: Whether `celery inspect` is to work.
        db: Number of the database, which is part of kombu's channels.
    """
    keys = QueueKeys(queue)
    result = result_key(EXAMPLE)
    rights: list[Right] = [
        ("EVALSHA", SHA, "0"),
        ("SCRIPT", "LOAD", ""),
        ("TIME",),
        ("INFO",),
        *_tenant_rights(keys),
        *product(("RPOP", "EXISTS"), (keys.tenants, keys.tenants_arrived, keys.tenant(EXAMPLE))),
        ("BLMOVE", keys.tenants, keys.tenants_arrived, "RIGHT", "LEFT", "1"),
        ("ZREM", keys.tenants_waiting, "x"),
        ("DEL", keys.tenants_waiting),
        *product(("RPOP", "LLEN"), (*keys.lists, keys.suspects, *keys.arrived)),
        *product(("LPUSH", "RPUSH"), (*keys.lists, *keys.arrived, keys.suspects), ("x",)),
        *(("BLMOVE", *pair, "RIGHT", "LEFT", "1") for pair in zip(keys.lists, keys.arrived)),  # noqa: B905  # both have one entry a priority
        *_hash_rights(keys.unacked(EXAMPLE)),
        *_hash_rights(keys.started(EXAMPLE)),
        *_zset_rights(keys.leases),
        *_zset_rights(keys.unknown),
        *_zset_rights(keys.reports),
        ("SET", keys.report(EXAMPLE), "x"),
        ("DEL", keys.report(EXAMPLE)),
        ("GET", keys.tick),
        ("SET", keys.tick, "x"),
        ("HSET", dead_key(queue), "x", "x"),
        ("ZADD", dead_index_key(queue), "0", "x"),
        *_hash_rights(keys.webhook_posts),
        *_zset_rights(keys.webhooks),
        ("GET", result),
        ("SET", result, "x"),
        ("PUBLISH", result, "x"),
        ("GET", upload_key(EXAMPLE)),
        ("DEL", upload_key(EXAMPLE)),
        ("SREM", upload_users_key(EXAMPLE), "x"),
        ("EXISTS", upload_users_key(EXAMPLE)),
        ("GET", label_set_key(EXAMPLE)),
        ("XREAD", "STREAMS", NEW_LABEL_SETS, "0"),
        ("HMGET", text_features_key(EXAMPLE), "x"),
        *_hash_rights(text_features_key(EXAMPLE)),
        *_zset_rights(text_leases_key(EXAMPLE)),
    ]
    return rights + (_remote_control_rights(db) if remote_control else [])


def _tenant_rights(keys: QueueKeys) -> list[Right]:
    """What pushes a tenant's message."""
    return [
        ("ZSCORE", keys.tenants_waiting, "x"),
        ("ZINCRBY", keys.tenants_waiting, "1", "x"),
        ("LPUSH", keys.tenants, "x"),
        *(("LPUSH", keys.tenant(EXAMPLE, step), "x") for step in PRIORITY_STEPS),
    ]


def _hash_rights(key: str) -> list[Right]:
    return [("HSET", key, "x", "x"), ("HGET", key, "x"), ("HDEL", key, "x")]


def _zset_rights(key: str) -> list[Right]:
    return [("ZADD", key, "0", "x"), ("ZREM", key, "x")]


def _remote_control_rights(db: int) -> list[Right]:
    return [
        ("SADD", PIDBOX, "x"),
        ("SREM", PIDBOX, "x"),
        ("SMEMBERS", PIDBOX),
        ("SUBSCRIBE", f"/{db}.celery.pidbox"),
        ("PUBLISH", f"/{db}.celery.pidbox", "x"),
    ]
