"""Snapshots for the tests of `clip-worker status`: a healthy fleet, to be changed."""

from __future__ import annotations

from clip_worker.contract.worker_report import WorkerReport
from clip_worker.redis.queue_status import QueueStatus
from worker.cli.status.snapshot import QueueView, RedisMemory, SeenWorker, Snapshot

NOW = 1_763_730_000.0
GIB = 2**30


def report(name: str = "clip-1@host", **changes: object) -> WorkerReport:
    """A worker under full load, for an hour."""
    fields = {
        "worker": name,
        "host": "host",
        "pid": 7,
        "version": "1.0.0",
        "started_at": NOW - 3600,
        "reported_at": NOW,
        "state": "ready",
        "queues": ("clip",),
        "model": "ViT-B/32",
        "model_digest": "40d3657159",
        "device": "cuda:0",
        "precision": "float16",
        "largest_batch": 64,
        "images": 1_000_000,
        "images_per_s": 300.0,
        "usual_images_per_s": 310.0,
        "batches": 17_000,
        "batch_images": 60.0,
        "in_flight": 800,
        "label_cache_hits": 999_000,
        "label_cache_misses": 50,
        "preparation_processes": 8,
    }
    return WorkerReport(**fields | changes)


def status(**changes: object) -> QueueStatus:
    """A queue that has work for some seconds."""
    fields = {
        "queue": "clip",
        "messages": 4000,
        "in_flight_messages": 1600,
        "suspects": 0,
        "workers": 2,
        "oldest_s": 7.0,
        "dead_letters": 0,
        "webhooks": 0,
    }
    return QueueStatus(**fields | changes)


def seen(name: str = "clip-1@host", age_s: float = 1.0, **changes: object) -> SeenWorker:
    return SeenWorker(report(name, **changes), age_s)


def queue(*workers: SeenWorker, work_s=9.0, growth_per_s=0.0, **changes: object) -> QueueView:
    """Two healthy workers, if none are given."""
    workers = workers or (seen(), seen("clip-2@host"))
    return QueueView(status(**changes), workers, work_s, growth_per_s)


def snapshot(*queues: QueueView, **changes: object) -> Snapshot:
    memory = RedisMemory(GIB // 2, 4 * GIB, "noeviction")
    return Snapshot(**{"at": NOW, "queues": queues or (queue(),), "memory": memory} | changes)
