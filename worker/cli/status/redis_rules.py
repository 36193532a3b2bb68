"""What may be wrong with Redis, or in it. Each rule yields a finding, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from worker.cli.status.finding import Finding, problem
from worker.cli.status.words import counted, size

if TYPE_CHECKING:
    from worker.cli.status.snapshot import Snapshot

NEARLY_FULL = 0.9
SAFE_POLICY = "noeviction"


def eviction(snapshot: Snapshot) -> Iterator[Finding]:
    """Redis drops keys when it is full."""
    memory = snapshot.memory
    if memory and memory.limit_bytes and memory.policy != SAFE_POLICY:
        what = "messages" if memory.policy.startswith("allkeys-") else "results and uploads"
        yield problem(
            "eviction",
            f"Redis drops {what} when its memory is full (maxmemory-policy {memory.policy}, "
            f"{_share(snapshot)}): CONFIG SET maxmemory-policy {SAFE_POLICY}.",
        )


def nearly_full(snapshot: Snapshot) -> Iterator[Finding]:
    """Redis is about to refuse messages and results."""
    memory = snapshot.memory
    if memory and 0 < memory.limit_bytes * NEARLY_FULL <= memory.used_bytes:
        yield problem(
            "redis_nearly_full",
            f"The memory of Redis is nearly full ({_share(snapshot)}); when it is full, it refuses "
            "messages: raise maxmemory, let producers wait, or keep results for a shorter time "
            "(CLIP_WORKER_RESULT_TTL_S).",
        )


def misrouted(snapshot: Snapshot) -> Iterator[Finding]:
    """Tasks are where no worker is."""
    if count := snapshot.misrouted:
        yield problem(
            "misrouted_tasks",
            f"Celery's default queue 'celery' has {counted(count, 'message')}, the oldest of which "
            "is a task for clip-worker: its workers don't take from there. In the producer set "
            'task_routes = {"clip.*": {"queue": "clip"}}, and send them again.',
        )


RULES: tuple[Callable[[Snapshot], Iterator[Finding]], ...] = (eviction, nearly_full, misrouted)


def _share(snapshot: Snapshot) -> str:
    assert snapshot.memory
    return f"{size(snapshot.memory.used_bytes)} of {size(snapshot.memory.limit_bytes)}"
