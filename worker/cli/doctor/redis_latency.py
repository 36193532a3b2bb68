"""Checks the time of a round trip, and Redis's clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from worker.cli.doctor.amounts import shown_seconds
from worker.cli.doctor.finding import Finding, ok, warning

if TYPE_CHECKING:
    from worker.cli.doctor.examined_redis import ExaminedRedis

TRIES = 50
SLOW_S = 0.01  # of a usual round trip; a task that is alone needs five
STALL_S = 1.0
CLOCK_S = 5.0


def check_latency(redis: ExaminedRedis) -> Finding:
    """How long a command and a script take."""
    pings = _times_s(redis.client.ping)
    script = redis.client.register_script("return 1")
    scripts = _times_s(script)
    found = f"A round trip takes {_shown(pings)}, a script {_shown(scripts)}."
    if median(pings) > SLOW_S or median(scripts) > SLOW_S:
        return warning(found, "Bring workers and Redis closer together: one network, one zone.")
    if max(pings + scripts) > STALL_S:
        return warning(
            found, "Look for slow commands (SLOWLOG GET), snapshots, swapping or a busy machine."
        )
    return ok(found)


def check_clock(redis: ExaminedRedis) -> Finding:
    """How far Redis's clock is from this machine's."""
    before = time.time()
    seconds, microseconds = redis.client.time()
    middle = (before + time.time()) / 2
    ahead_s = seconds + microseconds / 1e6 - middle
    found = f"Redis's clock differs from this machine's by {shown_seconds(abs(ahead_s))}"
    if abs(ahead_s) > CLOCK_S:
        return warning(
            f"{found}, so ages, deadlines and expiries are wrong by that.",
            "Synchronise both clocks (NTP).",
        )
    return ok(f"{found}.")


def _times_s(call: Callable[[], object]) -> list[float]:
    times = []
    call()  # opens the connection, loads the script
    for _ in range(TRIES):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def _shown(times_s: list[float]) -> str:
    return (
        f"{shown_seconds(median(times_s))} (median of {TRIES}, worst {shown_seconds(max(times_s))})"
    )
