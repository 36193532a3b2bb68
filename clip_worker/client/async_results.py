"""Reads results for coroutines: all that are waited for with one MGET, and one subscription.

Any number of coroutines wait at the same time. What they wait for is read together, at once and
then twice a second, and received over one subscription in between
(`clip_worker.client.shared_subscription`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from itertools import islice
from typing import TYPE_CHECKING, cast

from clip_worker.client.handle import PATIENCE_S
from clip_worker.client.result_wait import ResultWait, Stored
from clip_worker.client.shared_subscription import SharedSubscription
from clip_worker.client.subscription import LAST_POLL_S, SUBSCRIBED_POLL_S
from clip_worker.contract.keys import RESULT_PREFIX
from clip_worker.errors import QueueUnavailableError
from clip_worker.redis.error_translation import translated
from clip_worker.redis.pacer import Pacer, Turns

if TYPE_CHECKING:
    from clip_worker.client.result_decoder import ResultDecoder
    from clip_worker.contract.keys import QueueKeys
    from clip_worker.redis.async_commands import AsyncCommands
    from clip_worker.redis.async_connections import AsyncMasterOnlyConnection
    from clip_worker.redis.one_loop import OneLoop

WINDOW = 500  # results that are read at a time


class AsyncResults:
    """Reads the results that workers have stored, in one event loop.

    Args:
        commands: Sends commands to the Redis that results are stored in.
        connector: Makes a connection to it, for the subscription.
        url: Its URL, for error messages.
        decoder: Decodes results.
        ttl_s: How long the workers keep results, in seconds.
        loop: The event loop.
        sent: The Redis with the queue and the names there, to forget that a task was sent.
        turns: Taken by waits that begin.

    Attributes:
        turns: As above.
        outage: Why the last read failed; None if it did not.
    """

    def __init__(  # noqa: PLR0913  # its collaborators
        self,
        commands: AsyncCommands,
        connector: Callable[[], AsyncMasterOnlyConnection],
        *,
        url: str,
        decoder: ResultDecoder,
        ttl_s: float,
        loop: OneLoop,
        sent: tuple[AsyncCommands, QueueKeys],
        turns: Turns,
    ) -> None:
        self.turns = turns
        self._sent = sent
        self.ttl_s = ttl_s
        self.outage: QueueUnavailableError | None = None
        self._commands = commands
        self._url = url
        self._decoder = decoder
        self._loop = loop
        self._subscription = SharedSubscription(connector, self._received, self._connected)
        self._reached = float("-inf")  # when Redis replied last
        self._tasks: list[asyncio.Task[None]] = []
        self._reset()

    # --- for handles ---

    async def read(self, task_id: str) -> Stored | None:
        """What is stored for a task; None if there is nothing.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        [value] = await self._stored([task_id])
        return None if value is None else self._decoder.decode(value)

    async def forget(self, task_id: str) -> None:
        """Delete a task's result, and the note that it was sent.

        Raises:
            QueueUnavailableError: Redis can't be reached.
        """
        queue, keys = self._sent
        with translated(self._url):
            await self._commands("DEL", RESULT_PREFIX + task_id)
            await queue("DEL", keys.sent(task_id))

    def wait(self) -> ResultWait:
        """A wait for tasks that are then added to it.

        Raises:
            RuntimeError: The client is used in another event loop.
        """
        self._loop.check()
        if not self._tasks:
            self._start()
        return ResultWait(self)

    async def aclose(self) -> None:
        """End the background tasks; whoever waits gets an error."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail("was closed")

    # --- for waits ---

    def watch(self, wait: ResultWait, task_id: str) -> None:
        """Deliver a task's result to a wait."""
        waits = self._waits.setdefault(task_id, [])
        if not waits:
            self._subscription.add(task_id)
        waits.append(wait)

    def ask(self, task_ids: Sequence[str]) -> None:
        """Read tasks as soon as possible."""
        self._unread.update(dict.fromkeys(task_ids))
        self._wake.set()

    def begin(self, wait: ResultWait) -> None:
        """Tell a wait about outages from now on."""
        self._active.add(wait)

    def end(self, wait: ResultWait) -> None:
        """Do so no longer."""
        self._active.discard(wait)

    def unwatch(self, wait: ResultWait) -> None:
        """Deliver nothing more to a wait, and unsubscribe within half a second."""
        if wait.task_ids:
            self._closed.append(wait)

    def lasting_outage(self, since: float) -> QueueUnavailableError | None:
        """Why Redis has been away for longer than `PATIENCE_S`, seen by a wait that began then."""
        is_lasting = time.monotonic() - max(since, self._reached) > PATIENCE_S
        return self.outage if is_lasting else None

    # --- in the background ---

    def _start(self) -> None:
        self._reset()
        loop = asyncio.get_running_loop()
        for run in (self._poll, self._subscription.run):
            # In a context of its own, not in that of the request that happens to come first.
            task = loop.create_task(run(), name="clip-worker-results", context=Context())
            task.add_done_callback(self._stopped)
            self._tasks.append(task)

    def _reset(self) -> None:
        self._waits: dict[str, list[ResultWait]] = {}
        self._active: set[ResultWait] = set()
        self._unread: dict[str, None] = {}  # ids to read now, in order
        self._closed: list[ResultWait] = []  # waits to forget
        self._wake = asyncio.Event()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        if task not in self._tasks:  # closed, or stopped since the other one has failed
            return
        tasks, self._tasks = self._tasks, []
        for other in tasks:
            other.cancel()
        self._fail("was closed" if task.cancelled() else f"has failed ({task.exception()!r})")

    def _fail(self, reason: str) -> None:
        error = QueueUnavailableError(f"The client {reason} while results were waited for.")
        for wait in self._active:
            wait.fail(error)

    async def _poll(self) -> None:
        pacer, due = Pacer(), 0.0
        began = time.monotonic()
        while True:
            await self._forget_closed(pacer)
            if time.monotonic() >= due:
                due = time.monotonic() + self._pause_s
                self._unread.update(dict.fromkeys(self._waits))  # read all again
            if self._unread:
                await self._read_some(pacer)
            await self._subscription.update()
            if not (self._unread or self._closed):
                # Pause for as long as the reads took, so as not to overload a slow Redis.
                now = time.monotonic()
                is_idle = not (self._waits or self._subscription.has_changes)
                await self._sleep(None if is_idle else max(due - now, now - began))
                began = time.monotonic()

    @property
    def _pause_s(self) -> float:
        return SUBSCRIBED_POLL_S if self._subscription.works else LAST_POLL_S

    async def _sleep(self, limit_s: float | None) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _read_some(self, pacer: Pacer) -> None:
        task_ids = list(islice(self._unread, WINDOW))
        for task_id in task_ids:
            del self._unread[task_id]
        try:
            values = await self._stored(task_ids)
        except QueueUnavailableError as error:
            await self._note_outage(error, pacer)
            return
        self._reached, self.outage = time.monotonic(), None
        for task_id, value in zip(task_ids, values, strict=True):
            if stored := value and self._decoder.if_ended(value):
                self._deliver(task_id, stored)
            for wait in self._waits.get(task_id, ()):
                wait.was_read(task_id)
            await pacer.step()

    async def _note_outage(self, error: QueueUnavailableError, pacer: Pacer) -> None:
        self.outage = error
        self._unread.clear()
        for wait in list(self._active):
            wait.was_not_read(is_lasting=self.lasting_outage(wait.since) is not None)
            await pacer.step()

    async def _stored(self, task_ids: Sequence[str]) -> list[bytes | None]:
        with translated(self._url):
            keys = (RESULT_PREFIX + task_id for task_id in task_ids)
            return cast("list[bytes | None]", await self._commands("MGET", *keys))

    async def _forget_closed(self, pacer: Pacer) -> None:
        while self._closed:
            wait = self._closed[-1]
            while wait.task_ids:
                self._remove(wait, wait.task_ids.pop())
                await pacer.step()
            self._closed.remove(wait)

    def _remove(self, wait: ResultWait, task_id: str) -> None:
        waits = self._waits[task_id]
        waits.remove(wait)
        if not waits:
            self._drop(task_id)

    def _drop(self, task_id: str) -> list[ResultWait]:
        self._unread.pop(task_id, None)
        self._subscription.drop(task_id)
        return self._waits.pop(task_id)

    def _deliver(self, task_id: str, stored: Stored) -> None:
        if task_id in self._waits:
            for wait in self._drop(task_id):
                wait.put(task_id, stored)

    def _received(self, task_id: str, published: bytes | None) -> None:
        if published is None:  # subscribed: it may have ended before
            self.ask([task_id] if task_id in self._waits else [])
        elif stored := self._decoder.if_ended(published):
            self._deliver(task_id, stored)

    def _connected(self) -> Iterable[str]:
        self._wake.set()
        return self._waits
