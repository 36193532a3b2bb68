"""What a message costs Redis in `take`: without tenants, of few, of many, and to be sorted.

    python -m benchmarks.tenant_turns [--messages 5000] [--most 1 64] [--before FILE]

Microseconds of Redis's processor time a message, its share of reading the command and of writing
the reply included: the least of the rounds, which take turns. `--before` compares another version
of `take.lua`, as `git show` prints it. Bias: the messages are all alike, of about 1.5 kB, and
nothing else is asked of Redis.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from benchmarks.bench.server import Server
from clip_worker.contract.keys import QueueKeys
from clip_worker.contract.message_writer import Arguments, MessageWriter
from worker.delivery.redis_queue import RedisQueue, source_of

KEYS = QueueKeys("clip")
ROUNDS = 5
LABELS = [f"a thing number {i}" for i in range(10)]
# Name of a case: tenants, and whether each has lists of its own already.
CASES = {"no tenants": (0, False), "2": (2, True), "1,000": (1000, True), "2, sorted": (2, False)}


def message(tenant: str | None) -> str:
    """A message as the client writes it."""
    text = json.dumps({"image": "file:///data/pictures/1.jpg", "labels": LABELS})
    return MessageWriter(KEYS.queue).write("i" * 36, "clip.classify", Arguments(text, text),
                                           tenant=tenant)  # fmt: skip


def fill(client: redis.Redis, count: int, tenants: int, *, is_sorted: bool) -> None:
    """Let so many messages wait."""
    names = [f"tenant-{number}" for number in range(tenants)]
    texts = {name: message(name) for name in names} or {"": message(None)}
    with client.pipeline(transaction=False) as pipe:
        for number in range(count):
            name = names[number % tenants] if tenants else ""
            pipe.lpush(KEYS.tenant(name) if is_sorted else KEYS.queue, texts[name])
            if is_sorted:
                pipe.zincrby(KEYS.tenants_waiting, 1, name)
        if is_sorted:
            pipe.lpush(KEYS.tenants, *names)
            pipe.zincrby(KEYS.tenants_waiting, count, "*")
        pipe.execute()


def cost_us(server: Server, script: str, count: int, most: int) -> float:
    """Microseconds of Redis a message, to take all that waits, in one pipeline."""
    client = server.redis
    queue = RedisQueue(client, KEYS, lease_s=3600, result_ttl_s=60)
    queue.take(0)
    sha = client.script_load(script)
    with client.pipeline(transaction=False) as pipe:

        def run(_script: str, keys: Sequence[str], args: Sequence[Any]) -> list[bytes]:
            pipe.evalsha(sha, len(keys), *keys, *args)
            return []

        queue.run = run  # type: ignore[method-assign]  # what it asks, it asks later
        for _ in range(math.ceil(count / most)):
            queue.take(most)
        before_s = server.cpu_s
        pipe.execute()
        after_s = server.cpu_s
    assert client.hlen(KEYS.unacked(queue.lease.name)) == count
    return 1e6 * (after_s - before_s) / count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--most", type=int, nargs="+", default=[1, 64], help="messages a take")
    parser.add_argument("--before", type=Path, help="another take.lua, run without tenants")
    options = parser.parse_args()
    with Server() as server:
        client = server.redis
        for most in options.most:
            found: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                now = source_of("take")
                runs = [(name, *case, now) for name, case in CASES.items()]
                if options.before:
                    runs.insert(0, ("before", 0, False, options.before.read_text()))
                for name, tenants, is_sorted, script in runs:
                    client.flushdb()
                    fill(client, options.messages, tenants, is_sorted=is_sorted)
                    cost = cost_us(server, script, options.messages, most)
                    found.setdefault(name, []).append(cost)
            least = {name: round(min(costs), 2) for name, costs in found.items()}
            print(f"{most} a take: {least}")


if __name__ == "__main__":
    main()
