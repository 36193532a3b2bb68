"""The clock by which a worker knows that its leases may have ended."""

from __future__ import annotations

import time

# One that goes on while the machine sleeps: on Linux `time.monotonic` does not, on macOS this does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_clock() -> float:
    """Seconds, monotonic, a suspended machine's included."""
    return time.clock_gettime(_CLOCK)
