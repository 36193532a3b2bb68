"""Messages of tenants, as clients push them and as any other producer does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.queue_state import KEYS

from clip_worker.client.publisher import Publisher
from clip_worker.client.push_plan import Message, PushPlan

if TYPE_CHECKING:
    import redis

PART = 20_000
_PUSH_MANY = """
for number = ARGV[2], ARGV[2] + ARGV[3] - 1 do
  redis.call('LPUSH', KEYS[1], '{"headers": {"id": "' .. ARGV[1] .. '-' .. number .. '"}}')
end
"""


def tenant_message(tenant: Any, number: int, more: str = "") -> str:
    """A message whose id is the tenant and a number; None for no tenant."""
    name = "" if tenant is None else tenant
    headers = {"id": f"{name}-{number}"} | ({} if tenant is None else {"clip_tenant": tenant})
    return json.dumps({"body": more, "headers": headers})


def push(server: redis.Redis, tenant: str, count: int, *, step: int = 0, first: int = 0) -> None:
    """Send so many messages of a tenant, as a client does."""
    publisher = Publisher(server, PushPlan("redis:", KEYS.queue))
    messages = [Message(tenant_message(tenant, first + number)) for number in range(count)]
    for _ in publisher.send(messages, count, step, tenant):
        pass


def push_very_many(server: redis.Redis, tenant: str, count: int) -> None:
    """Send so many messages of a tenant that has none, as `push` does, but within Redis."""
    for first in range(0, count, PART):
        number = min(PART, count - first)
        server.eval(_PUSH_MANY, 1, KEYS.tenant(tenant), tenant, first, number)
    server.lpush(KEYS.tenants, tenant)
    server.zadd(KEYS.tenants_waiting, {tenant: count})
    server.zincrby(KEYS.tenants_waiting, count, "*")


def arrive(server: redis.Redis, tenant: Any, number: int) -> None:
    """Push one message onto the queue's own list, as Celery does."""
    server.lpush(KEYS.queue, tenant_message(tenant, number))


def waiting(server: redis.Redis) -> dict[str, int]:
    """How many messages each tenant has in lists of its own, and `*` all."""
    found: Any = server.zrange(KEYS.tenants_waiting, 0, -1, withscores=True)
    return {name.decode(): int(score) for name, score in found}
