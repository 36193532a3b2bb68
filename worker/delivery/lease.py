"""A worker's claim on the messages that it has taken from a queue, all of them together."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.delivery.redis_queue import RedisQueue

# One that goes on while the machine sleeps: on Linux `time.monotonic` does not, on macOS this does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_clock() -> float:
    """Seconds, monotonic, a suspended machine's included."""
    return time.clock_gettime(_CLOCK)


@dataclass(eq=False)
class Lease:
    """One lease of one worker process on one queue.

    Once it has lapsed, its messages are reclaimed by other workers and it can't be renewed: the
    worker goes on under a new one, and what it ends under the old one is refused by Redis.

    Attributes:
        queue: On what it is.
        ends_at: When it lapses at the earliest, by `lease_clock`; it moves with each renewal.
        name: In Redis.
        is_new: Whether Redis does not know of it yet.
        is_lost: Whether it is known to have lapsed.
    """

    queue: RedisQueue
    ends_at: float
    name: str = field(default_factory=lambda: secrets.token_hex(6))
    is_new: bool = True
    is_lost: bool = False
