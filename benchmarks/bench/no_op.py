"""The queue alone: tasks a second and processor time a task, with a model that does nothing.

Deliveries are counted, results stored and messages acknowledged after, each contender on one
worker (Celery's prefork with two children).
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.bench import rivals
from benchmarks.bench.contender import Contender
from benchmarks.bench.delivery import HANDLER, PIPELINE, PLAIN_GC, no_op_workers
from benchmarks.bench.labels import label_list
from benchmarks.bench.messages import push_copies, take_template
from benchmarks.bench.progress import say
from benchmarks.bench.sample import rounded
from benchmarks.bench.scale import Scale
from benchmarks.bench.server import BenchError, wait_until

IMAGE = "/pictures/summer/0001.jpg"
LABELS = 10
# A slower contender's round should not take ten times as long.
PARTS = {HANDLER: 1.0, PIPELINE: 0.5, PLAIN_GC: 1.0}
SLOWER = 0.1
EVERY_S = 0.01


def measure(scale: Scale) -> dict[str, Any]:
    """Rounds of each contender, by name."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        running = [stack.enter_context(c) for c in (*no_op_workers(), *rivals.without_models())]
        templates = {}
        for contender in running:
            templates[contender.name] = template_of(contender)
            run(contender, templates[contender.name], scale.no_op_tasks // 10)
        for number in range(scale.rounds):
            shift = number % len(running)
            for contender in [*running[shift:], *running[:shift]]:
                count = int(scale.no_op_tasks * PARTS.get(contender.name, SLOWER))
                done = run(contender, templates[contender.name], count)
                say(f"    {contender.name}: {count / done['seconds']:,.0f}/s")
                keep(found.setdefault(contender.name, {"tasks": count}), done)
    return {"contenders": found, "message_bytes": len(templates[HANDLER])}


def template_of(contender: Contender) -> bytes:
    """A message as the contender's own producer writes it."""
    contender.sender.send(IMAGE, label_list(LABELS))
    return take_template(contender.server.scratch)


def run(contender: Contender, template: bytes, count: int) -> dict[str, float]:
    """All messages on the queue at once, until each has its result and is acknowledged."""
    server, program = contender.server, contender.program
    ids = push_copies(server.scratch, template, count)
    keys, cpu_s, redis_cpu_s = int(server.redis.dbsize()), program.cpu_s, server.cpu_s
    start = server.release()
    wait_until(
        lambda: int(server.redis.dbsize()) >= keys + count and server.settled,
        program.check,
        every_s=EVERY_S,
        what=f"{count} tasks of {contender.name}",
    )
    done = {
        "seconds": time.time() - start,
        "cpu_s": program.cpu_s - cpu_s,
        "redis_cpu_s": server.cpu_s - redis_cpu_s,
    }
    check(contender, ids)
    server.drop_results()
    return done


def check(contender: Contender, ids: list[str]) -> None:
    """Every task has a result, and it is the right one.

    Raises:
        BenchError: One has none, or a wrong one.
    """
    [best, *_] = label_list(LABELS)
    for meta in contender.server.metas(ids):
        stored = json.loads(meta or b"{}")
        if stored.get("status") != "SUCCESS":
            raise BenchError(f"a task of {contender.name} gave {str(stored)[:300]}")
        if stored["result"]["predictions"][0]["label"] != best:
            raise BenchError(f"a task of {contender.name} answered {str(stored)[:300]}")


def keep(found: dict[str, Any], done: dict[str, float]) -> None:
    """Add one round to a contender's samples."""
    for name, value in done.items():
        found.setdefault(name, []).extend(rounded([value], 4))
