"""One warning for a fault that comes again and again, not one each time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

QUIET_S = 10.0


class Complaint:
    """Warns of one kind of fault, at most every 10 seconds while it lasts. For one thread.

    Args:
        logger: Where to.
        text: What can't be done; the fault follows.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, logger: logging.Logger, text: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._text = text
        self._clock = clock
        self._last = float("-inf")

    def about(self, fault: BaseException) -> None:
        """It has happened, perhaps again."""
        now = self._clock()
        if now - self._last >= QUIET_S:
            self._last = now
            self._logger.warning("%s, for Redis fails (%s); trying on.", self._text, fault)
