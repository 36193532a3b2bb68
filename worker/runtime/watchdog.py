"""Ends this process after a fault that nothing else can end; supervision starts the next one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def check_for_hang(running_s: float, limit_s: float, end: Callable[[str], None]) -> None:
    """End the process if a forward pass hangs.

    Args:
        running_s: How long the longest of those under way has been running.
        limit_s: `CLIP_WORKER_HANG_TIMEOUT_S`.
        end: Ends the process; given the reason.
    """
    if running_s > limit_s:
        end(
            f"a forward pass has been running for {running_s:.0f} s, more than "
            f"CLIP_WORKER_HANG_TIMEOUT_S={limit_s:g}"
        )


def end_process(status: int, reason: str, let_go: Callable[[], None]) -> None:
    """Let other workers have the messages in flight, and end at once.

    Args:
        status: Exit status (`worker.runtime.exit_codes`).
        reason: For the log.
        let_go: Ends the lease of this worker.
    """
    logger.critical("This worker ends itself: %s.", reason)
    try:
        let_go()
    except RedisError as error:  # the lease runs out by itself
        logger.warning("The messages in flight are reclaimed later than they should: %s", error)
    finally:
        os._exit(status)
