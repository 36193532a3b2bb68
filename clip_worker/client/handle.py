"""Handles of tasks that were sent: state, result, and waiting for several at once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from celery.states import PENDING

from clip_worker.client.result_reader import ResultReader
from clip_worker.client.sent_task import Result, SentTask, longest_wait_s, timeout_message
from clip_worker.client.subscription import ResultSubscription
from clip_worker.contract.trace_context import waiting_span
from clip_worker.errors import QueueUnavailableError, ResultTimeoutError

Some = TypeVar("Some", bound="Handle[Any]")

WINDOW = 1000  # results that are read at a time
PATIENCE_S = 60.0  # how long waiting goes on while Redis is away; a failover takes half of that


class Handle(SentTask[Result]):
    """A task that was sent.

    It holds no connection, so one thread may create it and another wait on it. A result that was
    read once is kept, so it is available as long as the handle is.

    Attributes:
        id: Celery's task id; `AsyncResult(id)` of any Celery client reads the same result.
        sent_at: Unix time in seconds at which it was sent; None if another process sent it.
        result_ttl_s: How long its result is kept, in seconds; None for as long as others.
    """

    def __init__(
        self,
        results: ResultReader,
        task_id: str,
        decode: Callable[[Any], Result],
        sent_at: float | None = None,
        result_ttl_s: float | None = None,
    ) -> None:
        super().__init__(task_id, decode, sent_at, result_ttl_s)
        self._results = results

    @property
    def state(self) -> str:
        """Celery's state: `SUCCESS`, `FAILURE` and so on, or `PENDING` if no result is stored.

        `PENDING` may mean that the task has not run yet, that there is no such task, or that its
        result has expired or was evicted: Redis can't distinguish these.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        stored = self._ended or self._results.read([self.id])[0]
        return str(stored["status"]) if stored else PENDING

    def get(self, timeout: float | None = None) -> Result:
        """Wait for the result and return it.

        Args:
            timeout: In seconds; None for as long as workers keep results (`result_ttl_s` of the
                client, a day by default), or longer if this one is kept longer. Waiting longer
                would make no sense, since a result that came earlier would have been seen.

        Raises:
            ClipWorkerError: The task failed; one of the subclasses in `clip_worker.errors`.
            ResultTimeoutError: There is no result yet, or it has expired.
            QueueUnavailableError: Redis was away at the end of `timeout`, or for 60 seconds.
        """
        with waiting_span(self._sent_in, self.id):
            if self._ended is None:
                limit_s = longest_wait_s([self], timeout, self._results.ttl_s)
                _wait_for_some(OrderedDict({self.id: self}), limit_s)
            return self._result()

    def forget(self) -> None:
        """Delete the stored result, and the note that the task's `task_id` was sent.

        For a task that has ended: one that has not stores its result later. What this handle has
        read it keeps.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        self._results.forget(self.id)


def as_completed(handles: Sequence[Some], *, timeout: float | None = None) -> Iterator[Some]:
    """Yield the handles one by one as their tasks end, with a result or a failure.

    Results are read with MGET, a thousand at a time, so there may be a hundred thousand handles.

    Args:
        handles: Handles of one client.
        timeout: Longest wait for the next, in seconds; None for as long as workers keep results.

    Raises:
        ResultTimeoutError: No task ended within `timeout`.
        QueueUnavailableError: Redis was away at the end of `timeout`, or for 60 seconds.
    """
    waiting = OrderedDict((handle.id, handle) for handle in handles)
    limit_s = 0.0
    if handles:
        limit_s = longest_wait_s(handles, timeout, handles[0]._results.ttl_s)  # noqa: SLF001  # ours
    while waiting:
        for task_id in _wait_for_some(waiting, limit_s):
            yield waiting.pop(task_id)


def first_completed(handles: Sequence[Some], *, timeout: float | None = None) -> list[Some]:
    """Wait until some of the tasks have ended, and return their handles, up to a thousand.

    Args:
        handles: Handles of one client, at least one.
        timeout: Longest wait, in seconds; None for as long as workers keep results.

    Raises:
        ResultTimeoutError: No task ended within `timeout`.
        QueueUnavailableError: Redis was away at the end of `timeout`, or for 60 seconds.
    """
    waiting = OrderedDict((handle.id, handle) for handle in handles)
    limit_s = longest_wait_s(handles, timeout, handles[0]._results.ttl_s)  # noqa: SLF001  # ours
    return [waiting[task_id] for task_id in _wait_for_some(waiting, limit_s)]


def forget_all(handles: Sequence[Handle[Any]]) -> None:
    """`Handle.forget` for many handles of one client, in one or two round trips.

    Raises:
        QueueUnavailableError: Redis can't be reached.
    """
    if handles:
        handles[0]._results.forget(*(handle.id for handle in handles))  # noqa: SLF001  # ours


def lost(handles: Sequence[Some]) -> list[Some]:
    """Those whose tasks Redis has lost, as in a failover: they can be sent again.

    Args:
        handles: Handles of one client, of tasks that were sent with a `task_id`. A task that waits
            for longer than `result_ttl_s` of the client is taken for lost.

    Raises:
        QueueUnavailableError: Redis can't be reached.
    """
    if not handles:
        return []
    ids = handles[0]._results.lost([handle.id for handle in handles])  # noqa: SLF001  # ours
    return [handle for handle in handles if handle.id in ids]


def _wait_for_some(waiting: OrderedDict[str, Some], limit_s: float) -> list[str]:
    results = next(iter(waiting.values()))._results  # noqa: SLF001  # of this module
    subscription = results.subscribe(list(waiting))
    try:
        return _read_until_some_ended(waiting, subscription, limit_s, results.ttl_s)
    finally:
        subscription.close()


def _read_until_some_ended(
    waiting: OrderedDict[str, Some],
    subscription: ResultSubscription,
    limit_s: float,
    ttl_s: float,
) -> list[str]:
    start = reached = time.monotonic()
    while True:
        began, away = time.monotonic(), None
        try:
            if done := _read_once(waiting):
                return done
            reached = time.monotonic()
        except QueueUnavailableError as error:
            away = error
        now = time.monotonic()
        if away and now - reached > PATIENCE_S:
            raise away
        if now - start > limit_s:
            raise away or ResultTimeoutError(timeout_message([*waiting.values()], limit_s, ttl_s))
        waited_s = now - start
        # Pause for as long as the reads took, so as not to overload a slow Redis.
        published = subscription.wait(waited_s, left_s=limit_s - waited_s, least_s=now - began)
        if published is not None and (done := _take(next(iter(waiting.values())), published)):
            return done


def _take(handle: Handle[Any], published: bytes) -> list[str]:
    """Take the published result of the only task; nothing if the task has only started."""
    handle._ended = handle._results.if_ended(published)  # noqa: SLF001  # of this module
    return [handle.id] if handle._ended else []  # noqa: SLF001  # likewise


def _read_once(waiting: OrderedDict[str, Some]) -> list[str]:
    """Read one window of results after the other until some tasks have ended."""
    for _ in range(0, len(waiting), WINDOW):
        window = list(islice(waiting.values(), WINDOW))
        if done := _ended(window):
            return done
        for handle in window:
            waiting.move_to_end(handle.id)
    return []


def _ended(handles: Sequence[Handle[Any]]) -> list[str]:
    known = [handle.id for handle in handles if handle._ended]  # noqa: SLF001  # of this module
    if known:
        return known
    ended = handles[0]._results.ended([handle.id for handle in handles])  # noqa: SLF001  # likewise
    for handle in handles:
        handle._ended = ended.get(handle.id)  # noqa: SLF001  # likewise
    return list(ended)
