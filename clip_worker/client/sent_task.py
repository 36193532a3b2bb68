"""What handles of threads and of coroutines have in common: a task and its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from clip_worker.client.result_error import result_error
from clip_worker.contract.trace_context import current_span
from clip_worker.errors import ClipWorkerError, ServiceError
from clip_worker.quoting import quote

Result = TypeVar("Result")


class SentTask(Generic[Result]):
    """A task that was sent, and its result once that was read.

    Args:
        task_id: Celery's task id.
        decode: Converts the result from JSON.
        sent_at: Unix time in seconds at which it was sent; None if another process sent it.
        result_ttl_s: How long its result is kept, in seconds; None for as long as others.
    """

    def __init__(
        self,
        task_id: str,
        decode: Callable[[Any], Result],
        sent_at: float | None,
        result_ttl_s: float | None = None,
    ) -> None:
        self.id = task_id
        self.sent_at = sent_at
        self.result_ttl_s = result_ttl_s
        self._ended: dict[str, Any] | None = None  # what is stored about it, once it was read
        self._decode = decode
        self._sent_in = None if sent_at is None else current_span()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def _result(self) -> Result:
        """The result of a task that has ended.

        Raises:
            ClipWorkerError: The task failed, or its result can't be read.
        """
        assert self._ended is not None
        result = self._ended["result"]
        if isinstance(result, BaseException):
            raise result_error(result, self.id) from _unless_same(result)
        try:
            return self._decode(result)
        except (ValueError, TypeError) as error:  # of another task, or from a newer worker
            raise ServiceError(
                f"Task {self.id} has a result that this client can't read ({quote(result)}); it "
                "is another task's, or from a newer worker: update the client.",
                "BAD_RESULT",
            ) from error


def longest_wait_s(tasks: Sequence[SentTask[Any]], timeout: float | None, ttl_s: float) -> float:
    """How long to wait for tasks, in seconds.

    A task may be queued for longer than its own result is kept, so a short lifetime is no limit.

    Args:
        tasks: The tasks.
        timeout: What the caller asked for, if anything.
        ttl_s: How long workers keep results, in seconds.
    """
    if timeout is not None:
        return timeout
    return max([ttl_s, *(task.result_ttl_s or 0.0 for task in tasks)])


def timeout_message(tasks: Sequence[SentTask[Any]], limit_s: float, ttl_s: float) -> str:
    """Why waiting for tasks was given up.

    Args:
        tasks: The tasks.
        limit_s: How long it was waited for them, in seconds.
        ttl_s: How long workers keep results, in seconds.
    """
    first, *others = tasks
    which = (
        f"None of {len(tasks)} tasks has a result" if others else f"Task {first.id} has no result"
    )
    return (
        f"{which} after {limit_s:g} s; {_perhaps_expired(first, ttl_s)}wait longer, or check that "
        "a worker is running (`clip-worker start`)."
    )


def _perhaps_expired(task: SentTask[Any], ttl_s: float) -> str:
    ttl_s = task.result_ttl_s or ttl_s
    if task.sent_at is None:
        return f"its result may have expired, {ttl_s:g} s after it was stored; if not, "
    if (age_s := time.time() - task.sent_at) < ttl_s:
        return ""
    return (
        f"it was sent {age_s:.0f} s ago and results are kept for {ttl_s:g} s, so its result may "
        "have expired: send it again; if not, "
    )


def _unless_same(error: BaseException) -> BaseException | None:
    return None if isinstance(error, ClipWorkerError) else error
