"""What a task costs with more and more workers on one queue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.bench.contender import Contender
from benchmarks.bench.delivery import HANDLER, no_op_program, no_op_worker
from benchmarks.bench.messages import push_copies
from benchmarks.bench.no_op import template_of
from benchmarks.bench.program import Program
from benchmarks.bench.progress import say
from benchmarks.bench.server import wait_until

EVERY_S = 0.005


def measure(counts: Sequence[int], tasks: int, rounds: int) -> list[dict[str, Any]]:
    """For each number of workers, tasks a second of all, and processor time a task."""
    found: list[dict[str, Any]] = []
    with ExitStack() as stack:
        contender = stack.enter_context(no_op_worker(HANDLER))
        template = template_of(contender)
        programs = [contender.program]
        for count in counts:
            while len(programs) < count:
                programs.append(stack.enter_context(no_op_program(contender.server.url)))
            _once(contender, programs, template, tasks // 4)  # warms up
            row: dict[str, Any] = {"workers": count, "rate": [], "cpu_us": [], "redis_cpu_us": []}
            for _ in range(rounds):
                seconds, cpu_s, redis_cpu_s = _once(contender, programs, template, tasks)
                row["rate"].append(round(tasks / seconds, 1))
                row["cpu_us"].append(round(1e6 * cpu_s / tasks, 2))
                row["redis_cpu_us"].append(round(1e6 * redis_cpu_s / tasks, 2))
            row["worker_mb"] = [round(program.rss_bytes / 1e6, 1) for program in programs]
            say(f"    {count} workers: {row['rate'][-1]:,.0f}/s, {row['cpu_us'][-1]} µs a task")
            found.append(row)
    return found


def _once(
    contender: Contender, programs: Sequence[Program], template: bytes, tasks: int
) -> tuple[float, float, float]:
    server = contender.server
    push_copies(server.scratch, template, tasks)
    keys, redis_cpu_s = int(server.redis.dbsize()), server.cpu_s
    cpu_s = sum(program.cpu_s for program in programs)
    start = server.release()
    wait_until(
        lambda: int(server.redis.dbsize()) - keys >= tasks and server.settled,
        contender.program.check,
        every_s=EVERY_S,
        what=f"{tasks} tasks of {len(programs)} workers",
    )
    seconds = time.time() - start
    used = sum(program.cpu_s for program in programs) - cpu_s, server.cpu_s - redis_cpu_s
    server.drop_results()
    return seconds, *used
