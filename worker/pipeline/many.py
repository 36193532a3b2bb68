"""Several pictures of one message: some at a time on their way, their outcomes in order.

Not all at once: what a large message has in the pipeline would have to be done before anything of
the next one is, and its pictures would all lie in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from worker.contract import Classification, Failure, Outcome
from worker.errors import ClipWorkerError, TemporaryError

if TYPE_CHECKING:
    from worker.pipeline.job import Job
    from worker.pipeline.pipeline import Pipeline
    from worker.runtime.job_builder import Asked

STOPPING = "STOPPING"  # code of what this worker can't finish and another one can


class Many:
    """The pictures of one message. Threads may share it.

    Args:
        jobs: One a picture, or what is wrong with it.
        pipeline: Does the work.
        most: How many to have on their way at a time; it may change.
        advanced: Told of each outcome but the last.
        ended: Given all outcomes, once.
        given_up: Told, perhaps several times, that the pipeline stops.
    """

    def __init__(  # noqa: PLR0913  # each is told something else
        self,
        jobs: Sequence[Job | ClipWorkerError],
        pipeline: Pipeline,
        *,
        most: Callable[[], int],
        advanced: Callable[[], None],
        ended: Callable[[list[Outcome]], None],
        given_up: Callable[[], None],
    ) -> None:
        self._jobs = jobs
        self._pipeline = pipeline
        self._most = most
        self._advanced = advanced
        self._ended = ended
        self._given_up = given_up
        self._outcomes: list[Outcome | None] = [None] * len(jobs)
        self._missing = len(jobs)
        self._sent = 0  # the first so many are on their way, or done
        self._is_sending = False
        self._lock = threading.Lock()

    def send(self) -> None:
        """Send as many pictures on their way as may be there; each that ends sends the next."""
        with self._lock:
            if self._is_sending:  # this may be a call from within: the outer one goes on
                return
            self._is_sending = True
        while (i := self._next()) is not None:
            job = self._jobs[i]
            if isinstance(job, ClipWorkerError):
                self._add(i, _failed(job))
            else:
                self._pipeline.submit(job).add_done_callback(partial(self._end, i))

    def _next(self) -> int | None:
        with self._lock:
            under_way = self._sent - (len(self._jobs) - self._missing)
            is_all = not self._missing or self._sent == len(self._jobs)
            if is_all or under_way >= self._most():
                self._is_sending = False
                return None
            self._sent += 1
            return self._sent - 1

    def time_out(self, error: ClipWorkerError) -> int:
        """End with the outcomes that are there, and this error for each picture without one.

        Returns:
            How many these are; if none, it had ended before.
        """
        with self._lock:
            missing, self._missing = self._missing, 0
            if missing:
                self._outcomes = [outcome or _failed(error) for outcome in self._outcomes]
        if missing:
            self._tell()
        return missing

    def _end(self, i: int, future: Future[Classification]) -> None:
        error = future.exception()
        if error is None:
            self._add(i, Outcome(status="ok", result=future.result()))
        elif is_stopping(error):
            self._given_up()
        else:
            assert isinstance(error, ClipWorkerError), "the pipeline translates all errors"
            self._add(i, _failed(error))

    def _add(self, i: int, outcome: Outcome) -> None:
        with self._lock:
            if not self._missing:  # it has taken too long
                return
            self._outcomes[i] = outcome
            self._missing -= 1
            is_last = not self._missing
        if is_last:
            self._tell()
        else:
            self._advanced()
            self.send()

    def _tell(self) -> None:
        self._ended([outcome for outcome in self._outcomes if outcome])


def is_stopping(error: BaseException) -> bool:
    """Whether another worker can do what this one can't finish."""
    return isinstance(error, TemporaryError) and error.code == STOPPING


def _failed(error: ClipWorkerError) -> Outcome:
    return Outcome(status="error", error=Failure.of(error))


def job_or_error(asked: Asked, image: str) -> Job | ClipWorkerError:
    """What the pipeline is asked about a picture, or what is wrong with its URI."""
    try:
        return asked.job(image)
    except ClipWorkerError as error:
        return error
