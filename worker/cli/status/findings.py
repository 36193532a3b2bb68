"""All that looks wrong in a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.status import queue_rules, redis_rules, worker_rules
from worker.cli.status.finding import Finding, Level

if TYPE_CHECKING:
    from worker.cli.status.snapshot import Snapshot


def findings(snapshot: Snapshot) -> list[Finding]:
    """What looks wrong, problems first."""
    found = [finding for rule in redis_rules.RULES for finding in rule(snapshot)]
    for queue in snapshot.queues:
        found += [finding for rule in queue_rules.RULES for finding in rule(queue)]
    for worker in snapshot.workers:
        rules = worker_rules.RULES[:1] if worker.is_silent else worker_rules.RULES
        found += [finding for rule in rules for finding in rule(worker)]
    return sorted(found, key=lambda finding: finding.level is not Level.PROBLEM)
