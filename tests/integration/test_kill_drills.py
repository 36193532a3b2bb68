"""Single faults, many times, on real processes; benchmarks/reliability.py takes their times."""

from __future__ import annotations

import pytest
from torture.drills import losses, recovery, slow_repeats, stops
from torture.rig import OUR_PATH, OURS, STOCK, Subject

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILLS = 20
SEED = 1
LEASE = {"LEASE_S": 3}
LATE = {"task_acks_late": True}
QUIET = ("--without-mingle", "--without-gossip")  # which would add a second to each start


def test_20_kills_of_a_busy_worker_on_kombus_transport_lose_messages() -> None:
    """kombu#305: a message is popped and then stored, in two steps."""
    stock = Subject("stock", STOCK, arguments=("-P", "threads", "-c", "16", *QUIET), settings=LATE)
    lost = losses(stock, KILLS, SEED)
    assert lost.begun > KILLS
    assert lost.lost > 0


def test_20_kills_of_a_busy_worker_on_our_queue_path_lose_none() -> None:
    lost = losses(Subject("ours", OUR_PATH), KILLS, SEED)
    assert lost.begun > KILLS
    assert lost.lost == 0


def test_what_a_killed_worker_had_in_flight_runs_again_and_nothing_else_does() -> None:
    seen = recovery(Subject("ours", OURS, work_s=0.25, settings=LEASE), kills=2)
    assert min(seen.in_flight) > 0
    assert (seen.never, seen.needless, seen.unfinished) == (0, 0, 0)


def test_a_batch_that_takes_longer_than_the_lease_is_run_once() -> None:
    assert slow_repeats(Subject("ours", OURS, work_s=5.0, settings=LEASE), tasks=16) == 0


def test_a_clean_stop_under_load_repeats_nothing_and_leaves_nothing_behind() -> None:
    seen = stops(Subject("ours", OURS), rounds=2, tasks=300)
    assert (seen.redelivered, seen.left, seen.unfinished, seen.wrong_ends) == (0, 0, 0, 0)
