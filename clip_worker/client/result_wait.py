"""A coroutine's wait for the results of some tasks."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from clip_worker.client.async_results import AsyncResults

MOST_AT_A_TIME = 100  # results that a wait returns; thousands may arrive at once

Stored: TypeAlias = dict[str, Any]  # a task's `status` and `result`


class ResultWait:
    """One coroutine's wait for some tasks; close it afterwards.

    Args:
        results: What reads the results.
    """

    def __init__(self, results: AsyncResults) -> None:
        self._results = results
        self._changed = asyncio.Event()
        self._asked_at = time.monotonic()
        self.task_ids: set[str] = set()  # that have not ended
        self.unread: set[str] = set()  # that are still to be read
        self.ended: dict[str, Stored] = {}
        self.since = 0.0  # when the present wait began
        self._error: Exception | None = None

    def add(self, task_id: str) -> None:
        """Wait for another task, too."""
        self.task_ids.add(task_id)
        self._results.watch(self, task_id)
        self._ask(task_id)

    def close(self) -> None:
        """Wait no longer."""
        self._results.unwatch(self)

    def put(self, task_id: str, stored: Stored) -> None:
        """Take what is stored about a task that has ended."""
        self.task_ids.discard(task_id)
        self.unread.discard(task_id)
        self.ended[task_id] = stored
        self._changed.set()

    def was_read(self, task_id: str) -> None:
        """Note that a task had not ended when it was read."""
        if task_id in self.unread:
            self.unread.remove(task_id)
            if not self.unread:
                self._changed.set()

    def was_not_read(self, *, is_lasting: bool) -> None:
        """Note that Redis is away, perhaps for too long."""
        if self.unread or is_lasting:
            self.unread.clear()
            self._changed.set()

    def fail(self, error: Exception) -> None:
        """Raise an error in whoever waits."""
        self._error = self._error or error
        self._changed.set()

    async def next(self, limit_s: float) -> dict[str, Stored]:
        """Wait until some tasks have ended, and return what is stored about a hundred at most.

        Args:
            limit_s: Longest wait, in seconds. The tasks are read once more at its end.

        Returns:
            By the tasks' ids; empty if none ended within the limit.

        Raises:
            QueueUnavailableError: Redis was away at the end of the limit, or for 60 seconds.
        """
        self.since = time.monotonic()
        self._results.begin(self)
        try:
            await self._until_some_ended(self.since + limit_s)
        finally:
            self._results.end(self)
        some = dict(islice(self.ended.items(), MOST_AT_A_TIME))
        for task_id in some:
            del self.ended[task_id]
        return some

    async def _until_some_ended(self, end: float) -> None:
        while not self.ended:
            if error := self._error or self._results.lasting_outage(self.since):
                raise error
            is_over = time.monotonic() >= end
            if is_over and not self.unread:
                if self._asked_at >= end:
                    if self._results.outage:
                        raise self._results.outage
                    return
                self._ask(*self.task_ids)
            await self._change(None if self.unread else end - time.monotonic())

    def _ask(self, *task_ids: str) -> None:
        self._asked_at = time.monotonic()
        self.unread.update(task_ids)
        self._results.ask(task_ids)

    async def _change(self, limit_s: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            pass
