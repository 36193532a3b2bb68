"""Whether a task's cost stays what it is when things grow: the queue, the labels, the workers.

Cost is processor time: it stays the same when the machine is busy with something else, and when
more workers than cores compete for these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.bench import crowd, lasting, many_labels, producing, waiting
from benchmarks.bench.delivery import HANDLER, PIPELINE, no_op_worker
from benchmarks.bench.progress import say
from benchmarks.bench.scale import Scale


def measure(scale: Scale, cache: Path) -> dict[str, Any]:
    """All that grows."""
    found: dict[str, Any] = {}
    say("  waiting messages")
    with no_op_worker(HANDLER) as contender:
        found["waiting"] = waiting.measure(contender, scale.waiting, scale.rounds)
    say("  workers")
    found["workers"] = crowd.measure(scale.workers, scale.no_op_tasks, scale.side_rounds)
    say("  labels")
    found["labels"] = many_labels.measure(scale, cache)
    say("  memory over many tasks")
    with no_op_worker(PIPELINE) as contender:
        found["lasting"] = lasting.measure(contender, scale.lasting_tasks)
    say("  producer")
    found["producer"] = producing.measure(scale.side_rounds)
    return found
