"""The torture run of `make torture`, short enough for every day."""

from __future__ import annotations

from pathlib import Path

import pytest
from torture.chaos import KILL, PARTITION, RESTART, STOP, TERM
from torture.run import Plan, torture
from torture.workload import Shares

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# A shorter lease than the default: what a killed worker held comes back sooner. A partition must
# stay below it, or it is as good as a kill; so must the pauses that a busy machine makes.
SHORT = Plan(
    tasks=2400,
    seed=7,
    interval_s=1.0,
    stop_s=8.0,
    partition_s=1.5,
    limit_s=500.0,  # on a busy machine; 2 minutes on a quiet one
    stall_s=60.0,
    shares=Shares(poison=0.0025),
    settings=(("CLIP_WORKER_LEASE_S", "6"),),
)


def test_no_task_is_lost_or_wrong_while_workers_and_redis_are_killed_stopped_and_cut_off(
    tmp_path: Path,
) -> None:
    # when
    outcome = torture(SHORT, tmp_path)
    # then
    outcome.print()
    assert [rule for rule in outcome.rules if not rule.holds] == []
    # and it was no quiet run
    happened = {event.kind for event in outcome.evidence.events}
    assert happened == {KILL, TERM, STOP, RESTART, PARTITION}
    assert len(outcome.evidence.poison) == 6
