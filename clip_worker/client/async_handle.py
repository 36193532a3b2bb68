"""Handles of tasks for coroutines: state, result, and waiting for several at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from celery.states import PENDING

from clip_worker.client.sent_task import Result, SentTask, longest_wait_s, timeout_message
from clip_worker.contract.trace_context import waiting_span
from clip_worker.errors import ResultTimeoutError
from clip_worker.redis.pacer import Pacer

if TYPE_CHECKING:
    from clip_worker.client.async_results import AsyncResults

Some = TypeVar("Some", bound="AsyncHandle[Any]")


class AsyncHandle(SentTask[Result]):
    """A task that was sent; `await handle` waits for its result.

    A result that was read once is kept, so it is available as long as the handle is.

    Attributes:
        id: Celery's task id; `AsyncResult(id)` of any Celery client reads the same result.
        sent_at: Unix time in seconds at which it was sent; None if another process sent it.
        result_ttl_s: How long its result is kept, in seconds; None for as long as others.
    """

    def __init__(
        self,
        results: AsyncResults,
        task_id: str,
        decode: Callable[[Any], Result],
        sent_at: float | None = None,
        result_ttl_s: float | None = None,
    ) -> None:
        super().__init__(task_id, decode, sent_at, result_ttl_s)
        self._results = results

    def __await__(self) -> Generator[Any, None, Result]:
        return self.get().__await__()

    async def state(self) -> str:
        """Celery's state; see `Handle.state`.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        stored = self._ended or await self._results.read(self.id)
        return str(stored["status"]) if stored else PENDING

    async def get(self, timeout: float | None = None) -> Result:  # noqa: ASYNC109  # as `Handle`
        """Wait for the result and return it.

        Any number of coroutines may wait for it, and each may be cancelled.

        Args:
            timeout: In seconds; None for as long as workers keep results.

        Raises:
            ClipWorkerError: The task failed; one of the subclasses in `clip_worker.errors`.
            ResultTimeoutError: There is no result yet, or it has expired.
            QueueUnavailableError: Redis was away at the end of `timeout`, or for 60 seconds.
        """
        with waiting_span(self._sent_in, self.id):
            if self._ended is None:
                async with self._results.turns:
                    wait = TaskWait[AsyncHandle[Result]](self._results, timeout)
                with closing(wait):
                    wait.add(self)
                    await wait.next()
            return self._result()

    async def forget(self) -> None:
        """Delete the stored result; see `Handle.forget`.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        await self._results.forget(self.id)


class TaskWait(Generic[Some]):
    """A coroutine's wait for some tasks to end; close it afterwards.

    Args:
        results: What reads the results.
        timeout: Longest wait for the next to end, in seconds; None for as long as workers keep
            results.
    """

    def __init__(self, results: AsyncResults, timeout: float | None) -> None:
        self._wait = results.wait()
        self._ttl_s = results.ttl_s
        self._timeout = timeout
        self._limit_s = longest_wait_s([], timeout, self._ttl_s)
        self._waiting: dict[str, Some] = {}
        self._ended: list[Some] = []

    def add(self, handle: Some) -> None:
        """Wait for another task, too."""
        if handle._ended is not None:  # noqa: SLF001  # of this module
            self._ended.append(handle)
        elif handle.id not in self._waiting:
            self._waiting[handle.id] = handle
            self._limit_s = longest_wait_s([handle], self._timeout, self._limit_s)
            self._wait.add(handle.id)

    async def next(self) -> list[Some]:
        """Wait until some of the tasks have ended, and return their handles, which have results.

        Returns:
            None of them if all have been returned before.

        Raises:
            ResultTimeoutError: No task ended within the time limit.
            QueueUnavailableError: Redis was away at its end, or for 60 seconds.
        """
        if self._waiting and not self._ended:
            found = await self._wait.next(self._limit_s)
            if not found:
                waiting = [*self._waiting.values()]
                raise ResultTimeoutError(timeout_message(waiting, self._limit_s, self._ttl_s))
            for task_id, stored in found.items():
                handle = self._waiting.pop(task_id)
                handle._ended = stored  # noqa: SLF001  # of this module
                self._ended.append(handle)
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Wait no longer."""
        self._wait.close()


async def async_as_completed(
    handles: Iterable[Some],
    *,
    timeout: float | None = None,  # noqa: ASYNC109  # of each wait, as `as_completed` has it
) -> AsyncIterator[Some]:
    """Yield the handles one by one as their tasks end, with a result or a failure.

    There may be a hundred thousand of them.

    Args:
        handles: Handles of one client.
        timeout: Longest wait for the next, in seconds; None for as long as workers keep results.

    Raises:
        ResultTimeoutError: No task ended within `timeout`.
        QueueUnavailableError: Redis was away at the end of `timeout`, or for 60 seconds.
    """
    all_handles, pacer = list(handles), Pacer()
    if not all_handles:
        return
    results = all_handles[0]._results  # noqa: SLF001  # of this module
    with closing(TaskWait[Some](results, timeout)) as wait:
        for handle in all_handles:
            wait.add(handle)
            await pacer.step()
        while ended := await wait.next():
            for handle in ended:
                yield handle
                await pacer.step()
