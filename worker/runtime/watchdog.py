"""Ends this process after a fault that nothing else can end; supervision starts the next one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

logger = logging.getLogger(__name__)

# Exit statuses.
HUNG = 70  # a forward pass took longer than CLIP_WORKER_HANG_TIMEOUT_S
DEVICE_LOST = 71  # the accelerator failed in a way that only a new process mends


def check_for_hang(running_s: float, limit_s: float, end_leases: Callable[[], None]) -> None:
    """End the process if a forward pass hangs.

    Args:
        running_s: How long the longest of those under way has been running.
        limit_s: `CLIP_WORKER_HANG_TIMEOUT_S`.
        end_leases: See `end_process`.
    """
    if running_s > limit_s:
        reason = (
            f"a forward pass has been running for {running_s:.0f} s, more than "
            f"CLIP_WORKER_HANG_TIMEOUT_S={limit_s:g}"
        )
        end_process(HUNG, reason, end_leases)


def end_process(status: int, reason: str, end_leases: Callable[[], None]) -> None:
    """Let other workers have the messages in flight, and end at once.

    Args:
        status: Exit status.
        reason: For the log.
        end_leases: Lets other workers have the messages in flight.
    """
    logger.critical("This worker ends itself: %s.", reason)
    try:
        end_leases()
    finally:
        os._exit(status)
