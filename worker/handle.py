"""A task that has been sent: its state, its result, and waiting for several at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from celery import Celery
from celery.states import READY_STATES

from worker.client_errors import result_error, translated
from worker.errors import ClipWorkerError, QueueUnavailableError, ResultTimeoutError

Answer = TypeVar("Answer")
Some = TypeVar("Some", bound="Handle[Any]")

FIRST_POLL_S = 0.002
LAST_POLL_S = 0.05
PATIENCE_S = 30.0  # how long waiting goes on while Redis is away


class Handle(Generic[Answer]):
    """What `Client.classify` gives: the answer is on its way.

    It holds no connection, so it may be made in one thread and waited for in another.

    Attributes:
        id: Celery's task id; `AsyncResult(id)` of any Celery client reads the same result.
    """

    def __init__(
        self, app: Celery, url: str, task_id: str, decode: Callable[[Any], Answer]
    ) -> None:
        self.id = task_id
        self._app = app
        self._url = url
        self._decode = decode

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"

    @property
    def state(self) -> str:
        """`PENDING` (not known yet), `SUCCESS`, `FAILURE`, or another of Celery's states.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        with translated(self._url):
            return str(self._app.AsyncResult(self.id).state)

    def get(self, timeout: float | None = None) -> Answer:
        """Wait for the answer.

        Args:
            timeout: In seconds; None to wait for as long as it takes.

        Raises:
            ClipWorkerError: Why there is no answer; one of the subclasses in `worker.errors`.
            ResultTimeoutError: There is none yet.
            QueueUnavailableError: Redis was away at the end of `timeout`, or for 30 seconds.
        """
        _wait_for_some([self], timeout)
        with translated(self._url):
            # Not `get`, which would subscribe to the task's channel for good.
            answer = self._app.AsyncResult(self.id).result
        if isinstance(answer, BaseException):
            raise result_error(answer, self.id) from _unless_same(answer)
        return self._decode(answer)


def as_completed(handles: Sequence[Some], *, timeout: float | None = None) -> Iterator[Some]:
    """Give the handles one by one as their tasks end, well or badly.

    One MGET asks for all that are open, at most every 50 ms: no subscription that a lost connection
    could lose.

    Args:
        handles: Of one client.
        timeout: Longest wait for the next, in seconds; None for no limit.

    Raises:
        ResultTimeoutError: None ended for `timeout` seconds.
        QueueUnavailableError: Redis was away at the end of `timeout`, or for 30 seconds.
    """
    waiting = {handle.id: handle for handle in handles}
    while waiting:
        for task_id in _wait_for_some(list(waiting.values()), timeout):
            yield waiting.pop(task_id)


def _wait_for_some(handles: Sequence[Handle[Any]], timeout: float | None) -> list[str]:
    start = seen = time.monotonic()
    while True:
        away: QueueUnavailableError | None = None
        try:
            if done := _ended(handles):
                return done
            seen = time.monotonic()
        except QueueUnavailableError as error:
            away = error
        waited_s = time.monotonic() - start
        if away and time.monotonic() - seen > PATIENCE_S:
            raise away
        if timeout is not None and waited_s > timeout:
            raise away or ResultTimeoutError(_late(handles, timeout))
        # What has taken long may take a little longer: a twentieth at most is added to it.
        time.sleep(min(LAST_POLL_S, max(FIRST_POLL_S, waited_s / 20)))


def _late(handles: Sequence[Handle[Any]], timeout: float) -> str:
    first, *others = handles
    which = (
        f"None of {len(handles)} tasks has a result" if others else f"Task {first.id} has no result"
    )
    return (
        f"{which} after {timeout:g} s; wait longer, or see whether a worker runs "
        "(`clip-worker start`)."
    )


def _ended(handles: Sequence[Handle[Any]]) -> list[str]:
    first = handles[0]
    backend = first._app.backend  # noqa: SLF001  # handles of one client share it
    with translated(first._url):  # noqa: SLF001  # likewise
        stored = backend.mget([backend.get_key_for_task(handle.id) for handle in handles])
        ended = [
            value and backend.decode_result(value)["status"] in READY_STATES for value in stored
        ]
    return [handle.id for handle, done in zip(handles, ended, strict=True) if done]


def _unless_same(error: BaseException) -> BaseException | None:
    return None if isinstance(error, ClipWorkerError) else error
