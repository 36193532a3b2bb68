"""Whether the store of embeddings may be asked: a circuit breaker that says so in the log, once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from clip_worker.errors import ClipWorkerError, TemporaryError
from clip_worker.quoting import quote
from worker.pipeline.circuit_breaker import CircuitBreaker, RestPolicy

logger = logging.getLogger(__name__)

REST = RestPolicy(failures=1, first_s=1.0, factor=2.0, longest_s=30.0)


class StoreHealth:
    """Of reading, or of writing. Threads may share it.

    Args:
        what: That can't be done while the store is away, for the log.
        clock: Seconds, monotonic.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._what = what
        self._clock = clock
        self._breaker = CircuitBreaker(REST)
        self._lock = threading.Lock()

    def may_try(self, attempt: object) -> bool:
        """Whether the store may be asked now; while it is away, by one attempt after each rest."""
        with self._lock:
            if not self._breaker.allows(self._clock()):
                return False
            self._breaker.started(attempt)
            return True

    def answered(self) -> None:
        """Note that the store has answered in time."""
        with self._lock:
            was_away = not self._breaker.is_closed
            self._breaker.answered()
        if was_away:
            logger.info("The embedding store answers again: embeddings are %s.", self._what)

    def failed(self, attempt: object, error: BaseException) -> None:
        """Note that an attempt has failed, or took too long."""
        known = error if isinstance(error, TemporaryError) else TemporaryError(quote(f"{error!r}"))
        with self._lock:
            was_closed = self._breaker.is_closed
            self._breaker.failed(attempt, known, self._clock())
        if was_closed:
            reason = error.message if isinstance(error, ClipWorkerError) else quote(repr(error))
            logger.warning(
                "No embeddings are %s until the embedding store answers: %s", self._what, reason
            )
