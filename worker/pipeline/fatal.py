"""Errors after which this process can run no further batch, such as a lost device."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from worker.errors import TemporaryError

logger = logging.getLogger(__name__)

OnFatal = Callable[[BaseException], None]


def _nothing(_: BaseException) -> None: ...


class Fatal:
    """Tells fatal errors of a batch from others, and raises the alarm at the first.

    Args:
        is_fatal: Names an error fatal.
        on_fatal: Called once at most, with the first fatal error, on the batch's thread and before
            any caller hears of it: it may end the process, so that another does the work.
    """

    def __init__(
        self,
        is_fatal: Callable[[BaseException], bool] = lambda _: False,
        on_fatal: OnFatal = _nothing,
    ) -> None:
        self._is_fatal = is_fatal
        self._on_fatal = on_fatal
        self._first = threading.Lock()  # taken by the first, and never given back

    def judged(self, error: BaseException) -> BaseException:
        """What a caller is told: the error itself, or that another worker can do it."""
        if not self._is_fatal(error):
            return error
        if self._first.acquire(blocking=False):
            self._raise_alarm(error)
        told = TemporaryError("The worker's device failed; send the task again.", "DEVICE_LOST")
        told.__cause__ = error
        return told

    def _raise_alarm(self, error: BaseException) -> None:
        logger.critical("This process can run no further batch", exc_info=error)
        try:
            self._on_fatal(error)
        except Exception:
            logger.exception("The alarm about a fatal error failed")
