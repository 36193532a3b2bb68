"""Whether memory stays flat over many tasks."""

from __future__ import annotations

from typing import Any

from benchmarks.bench.contender import Contender
from benchmarks.bench.no_op import run, template_of
from benchmarks.bench.progress import say

STEPS = 20


def measure(contender: Contender, tasks: int) -> dict[str, Any]:
    """Resident memory of worker and Redis after every twentieth of the tasks."""
    template = template_of(contender)
    rows: dict[str, list[float]] = {"tasks": [], "worker_mb": [], "redis_mb": []}
    for step in range(STEPS):
        run(contender, template, tasks // STEPS)
        rows["tasks"].append((step + 1) * (tasks // STEPS))
        rows["worker_mb"].append(round(contender.program.rss_bytes / 1e6, 1))
        rows["redis_mb"].append(round(contender.server.rss_bytes / 1e6, 1))
    say(f"    {rows['worker_mb'][0]} MB at first, {rows['worker_mb'][-1]} MB after {tasks:,} tasks")
    return rows
