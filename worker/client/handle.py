"""A task that has been sent: its state, its result, and waiting for several at once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from celery.states import PENDING

from worker.client.result_error import result_error
from worker.client.result_reader import StoredResults
from worker.client.subscription import Watch
from worker.errors import (
    ClipWorkerError,
    QueueUnavailableError,
    ResultTimeoutError,
    ServiceError,
)
from worker.quoting import quote

Answer = TypeVar("Answer")
Some = TypeVar("Some", bound="Handle[Any]")

WINDOW = 1000  # results that are asked for at a time
PATIENCE_S = 60.0  # how long waiting goes on while Redis is away; a failover takes half of it


class Handle(Generic[Answer]):
    """A task that was sent; its result can be waited for.

    It holds no connection, so it may be made in one thread and waited for in another. What it has
    read it keeps, so that an answer is there as long as the handle is.

    Attributes:
        id: Celery's task id; `AsyncResult(id)` of any Celery client reads the same result.
        sent_at: Unix time in seconds at which it was sent; None for a task that others sent.
    """

    def __init__(
        self,
        results: StoredResults,
        task_id: str,
        decode: Callable[[Any], Answer],
        sent_at: float | None = None,
    ) -> None:
        self.id = task_id
        self.sent_at = sent_at
        self._results = results
        self._decode = decode
        self._ended: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"

    @property
    def state(self) -> str:
        """`SUCCESS`, `FAILURE`, another of Celery's states, or `PENDING`: nothing is stored.

        That may be because it was not run yet, because there is no such task, or because its result
        has expired or was evicted: Redis can't tell these apart.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        stored = self._ended or self._results.read([self.id])[0]
        return str(stored["status"]) if stored else PENDING

    def get(self, timeout: float | None = None) -> Answer:
        """Wait for the result.

        Args:
            timeout: In seconds; None for as long as workers keep results (`result_ttl_s` of the
                client, a day by default). There is no sense in waiting longer: who has waited from
                the beginning would have seen it.

        Raises:
            ClipWorkerError: Why there is no answer; one of the subclasses in `worker.errors`.
            ResultTimeoutError: There is none yet, or none any more.
            QueueUnavailableError: Redis was away at the end of `timeout`, or for 60 seconds.
        """
        _wait_for_some(OrderedDict({self.id: self}), timeout)
        assert self._ended is not None
        answer = self._ended["result"]
        if isinstance(answer, BaseException):
            raise result_error(answer, self.id) from _unless_same(answer)
        try:
            return self._decode(answer)
        except (ValueError, TypeError) as error:  # of another task, or from a newer worker
            raise ServiceError(
                f"Task {self.id} has a result that this client can't read ({quote(answer)}).",
                "BAD_RESULT",
            ) from error


def as_completed(handles: Sequence[Some], *, timeout: float | None = None) -> Iterator[Some]:
    """Yield the handles one by one as their tasks end, with a result or a failure.

    They are asked for with MGET, a thousand at a time: no subscription that a lost connection could
    lose. There may be a hundred thousand of them.

    Args:
        handles: Of one client.
        timeout: Longest wait for the next, in seconds; None for as long as workers keep results.

    Raises:
        ResultTimeoutError: None ended for so long.
        QueueUnavailableError: Redis was away at the end of `timeout`, or for 60 seconds.
    """
    waiting = OrderedDict((handle.id, handle) for handle in handles)
    while waiting:
        for task_id in _wait_for_some(waiting, timeout):
            yield waiting.pop(task_id)


def _wait_for_some(waiting: OrderedDict[str, Some], timeout: float | None) -> list[str]:
    results = next(iter(waiting.values()))._results  # noqa: SLF001  # of this module
    limit_s = results.ttl_s if timeout is None else timeout
    watch = results.watch(list(waiting))
    try:
        return _look_until(waiting, watch, limit_s)
    finally:
        watch.leave()


def _look_until(waiting: OrderedDict[str, Some], watch: Watch, limit_s: float) -> list[str]:
    start = seen = time.monotonic()
    while True:
        asked, away = time.monotonic(), None
        try:
            if done := _look_once(waiting):
                return done
            seen = time.monotonic()
        except QueueUnavailableError as error:
            away = error
        now = time.monotonic()
        if away and now - seen > PATIENCE_S:
            raise away
        if now - start > limit_s:
            raise away or ResultTimeoutError(_late(list(waiting.values()), limit_s))
        waited_s = now - start
        # A slow Redis is not asked without a pause.
        published = watch.wait(waited_s, left_s=limit_s - waited_s, least_s=now - asked)
        if published is not None and (done := _heard(next(iter(waiting.values())), published)):
            return done


def _heard(handle: Handle[Any], published: bytes) -> list[str]:
    """Take what was published for the one task that is watched; nothing if it has only begun."""
    handle._ended = handle._results.if_ended(published)  # noqa: SLF001  # of this module
    return [handle.id] if handle._ended else []  # noqa: SLF001  # likewise


def _look_once(waiting: OrderedDict[str, Some]) -> list[str]:
    """Ask for one window after the other until some have ended; at most once for each."""
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


def _late(handles: Sequence[Handle[Any]], limit_s: float) -> str:
    first, *others = handles
    which = (
        f"None of {len(handles)} tasks has a result" if others else f"Task {first.id} has no result"
    )
    return (
        f"{which} after {limit_s:g} s; {_perhaps_gone(first)}wait longer, or see whether a worker "
        "runs (`clip-worker start`)."
    )


def _perhaps_gone(handle: Handle[Any]) -> str:
    """What can be told of a result that may have been there."""
    ttl_s = handle._results.ttl_s  # noqa: SLF001  # of this module
    if handle.sent_at is None:
        return f"it may have had one that has expired, {ttl_s:g} s after it was stored; if not, "
    if (age_s := time.time() - handle.sent_at) < ttl_s:
        return ""
    return (
        f"it was sent {age_s:.0f} s ago and results are kept for {ttl_s:g} s, so it may have had "
        "one that has expired: send it again; if not, "
    )


def _unless_same(error: BaseException) -> BaseException | None:
    return None if isinstance(error, ClipWorkerError) else error
