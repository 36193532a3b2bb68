"""A warning about Redis failing, which may last: logged once in ten seconds, not each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import RedisError

if TYPE_CHECKING:
    import logging

QUIET_S = 10.0
RETRY_S = 0.25

Answer = TypeVar("Answer")


class ThrottledWarning:
    """Warns about one kind of Redis failure, at most every 10 seconds. For one thread.

    Args:
        logger: Where to.
        text: What is not possible meanwhile, as a sentence without a full stop.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, logger: logging.Logger, text: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._text = text
        self._clock = clock
        self._last = float("-inf")

    def warn(self, error: BaseException) -> None:
        """Log that it happened, unless that was logged just now."""
        now = self._clock()
        if now - self._last >= QUIET_S:
            self._last = now
            self._logger.warning("%s because Redis fails (%s). Retrying.", self._text, error)

    def insist(self, call: Callable[[], Answer]) -> Answer:
        """What a call gives, repeated for as long as Redis fails."""
        while True:
            try:
                return call()
            except RedisError as error:
                self.warn(error)
                time.sleep(RETRY_S)
