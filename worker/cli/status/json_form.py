"""A snapshot as JSON; docs/status.md documents it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.cli.status.finding import Finding
    from worker.cli.status.snapshot import QueueView, Snapshot


def to_json(snapshot: Snapshot, found: Sequence[Finding]) -> str:
    """One line."""
    memory = snapshot.memory
    return json.dumps(
        {
            "at": snapshot.at,
            "queues": [_queue(queue) for queue in snapshot.queues],
            "workers": [
                worker.report.model_dump(mode="json") | {"report_age_s": round(worker.age_s, 3)}
                for worker in snapshot.workers
            ],
            "redis": asdict(memory) if memory else None,
            "misrouted": snapshot.misrouted,
            "findings": [asdict(finding) for finding in found],
        }
    )


def _queue(queue: QueueView) -> dict[str, Any]:
    return asdict(queue.status) | {
        "total_messages": queue.status.total_messages,
        "workers": len(queue.live),
        "work_s": queue.work_s,
        "images_per_s": queue.images_per_s,
        "growth_per_s": queue.growth_per_s,
    }
