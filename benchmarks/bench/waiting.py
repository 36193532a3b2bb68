"""What a task costs with more and more messages waiting behind it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.bench.contender import Contender
from benchmarks.bench.messages import push_copies
from benchmarks.bench.names import QUEUE
from benchmarks.bench.no_op import template_of
from benchmarks.bench.progress import say
from benchmarks.bench.server import wait_until

WATCHED = 30_000  # tasks of one measurement
EVERY_S = 0.005


def measure(contender: Contender, counts: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """For each number of waiting messages, processor time a task, of worker and Redis."""
    template = template_of(contender)
    found = [_fill(contender, template, count) for count in counts]
    _once(contender, min(counts))  # warms up
    for number in range(rounds):
        turn = found if number % 2 == 0 else found[::-1]
        for row in turn:
            cpu_s, redis_cpu_s, seconds, tasks = _once(contender, row["waiting"])
            row["cpu_us"].append(round(1e6 * cpu_s / tasks, 2))
            row["redis_cpu_us"].append(round(1e6 * redis_cpu_s / tasks, 2))
            row["rate"].append(round(tasks / seconds, 1))
            row["worker_mb"].append(round(contender.program.rss_bytes / 1e6, 1))
            say(f"    {row['waiting']:,} waiting: {row['cpu_us'][-1]} µs a task")
    return found


def _fill(contender: Contender, template: bytes, count: int) -> dict[str, Any]:
    """Keep a list of so many messages in the scratch database, to copy from."""
    server = contender.server
    before = server.redis.info("memory")["used_memory"]
    push_copies(server.scratch, template, count, _stock(count))
    bytes_each = (server.redis.info("memory")["used_memory"] - before) / count
    say(f"    {count:,} messages made, {bytes_each:.0f} bytes each in Redis")
    return {
        "waiting": count,
        "redis_bytes_each": round(bytes_each),
        "cpu_us": [],
        "redis_cpu_us": [],
        "rate": [],
        "worker_mb": [],
    }


def _stock(count: int) -> str:
    return f"waiting:{count}"


def _once(contender: Contender, waiting: int) -> tuple[float, float, float, int]:
    """Processor seconds of worker and Redis, and seconds, that so many tasks took.

    A short queue is filled again and again, until as many tasks are done as are watched of a long
    one.
    """
    spent = [0.0, 0.0, 0.0]
    tasks = 0
    while tasks < WATCHED:
        *used, done = _watch(contender, waiting, min(waiting, WATCHED))
        spent = [total + one for total, one in zip(spent, used, strict=True)]
        tasks += done
    return spent[0], spent[1], spent[2], tasks


def _watch(contender: Contender, waiting: int, tasks: int) -> tuple[float, float, float, int]:
    server, program = contender.server, contender.program
    keys = int(server.redis.dbsize())
    cpu_s = program.cpu_s
    server.scratch.copy(_stock(waiting), QUEUE, destination_db=0)  # wakes the worker
    redis_cpu_s, start = server.cpu_s, time.perf_counter()  # after the copy, which is not a task's
    wait_until(
        lambda: int(server.redis.dbsize()) - keys >= tasks,
        program.check,
        every_s=EVERY_S,
        what=f"{tasks} tasks with {waiting} waiting",
    )
    seconds = time.perf_counter() - start
    used = program.cpu_s - cpu_s, server.cpu_s - redis_cpu_s
    done = int(server.redis.dbsize()) - keys
    server.redis.unlink(QUEUE)
    wait_until(lambda: server.settled, program.check, every_s=EVERY_S, what="the rest")
    server.drop_results()
    return *used, seconds, done
