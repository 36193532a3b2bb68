"""Sends many images from a coroutine, and yields one outcome for each image."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING

from clip_worker.client.async_handle import AsyncHandle, TaskWait
from clip_worker.client.image_chunks import Ended, Image, ImageChunks
from clip_worker.contract import Outcome
from clip_worker.errors import ClipWorkerError, QueueUnavailableError
from clip_worker.redis.pacer import Pacer

if TYPE_CHECKING:
    from clip_worker.client.async_results import AsyncResults


class AsyncOutcomeStream:
    """Sends the images of one `classify_many` call and waits for their outcomes.

    Args:
        images: URIs.
        send: Sends a message with some of them.
        chunk: Images per message.
        in_flight: Maximum number of messages in flight.
        timeout: Longest wait for the next message to end, in seconds; None as for `Handle.get`.
        keep_results: Whether results that were read stay in Redis.
    """

    def __init__(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        images: Iterable[object],
        send: Callable[[list[str]], Awaitable[AsyncHandle[list[Outcome]]]],
        *,
        chunk: int,
        in_flight: int,
        timeout: float | None,
        keep_results: bool = False,
    ) -> None:
        self._images = iter(images)
        self._send = send
        self._timeout = timeout
        self._keep_results = keep_results
        self._chunks = ImageChunks(chunk, in_flight)
        self._pacer = Pacer()

    async def outcomes(self, results: AsyncResults) -> AsyncGenerator[Ended, None]:
        """Send, wait, and yield each image's position and outcome as messages end.

        Args:
            results: What reads the results.

        Raises:
            TemporaryError: As for `OutcomeStream.outcomes`.
        """
        with closing(TaskWait[AsyncHandle[list[Outcome]]](results, self._timeout)) as wait:
            while not self._chunks.is_done:
                try:
                    await self._fill(wait)
                except Exception:
                    for ended in self._chunks.take_ended():
                        yield ended
                    raise
                for ended in self._chunks.take_ended():
                    yield ended
                for handle in await wait.next():
                    await self._settle(handle)
                    for ended in self._chunks.take_ended():
                        yield ended
                        await self._pacer.step()

    async def _fill(self, wait: TaskWait[AsyncHandle[list[Outcome]]]) -> None:
        for _ in range(self._chunks.room):
            await self._pacer.step()
            if images := self._chunks.again() or self._next_chunk():
                handle = await self._send([uri for _, uri in images])
                self._chunks.sent(handle.id, images)
                wait.add(handle)

    def _next_chunk(self) -> list[Image]:
        if self._chunks.exhausted:
            return []
        return self._chunks.read(list(islice(self._images, self._chunks.chunk)))

    async def _settle(self, handle: AsyncHandle[list[Outcome]]) -> None:
        await asyncio.sleep(0)  # to decode a message takes up to some milliseconds
        try:
            outcomes = await handle
        except ClipWorkerError as error:
            self._chunks.fail(handle.id, error)
        else:
            self._chunks.end(handle.id, outcomes)
        if not self._keep_results:
            with suppress(QueueUnavailableError):  # then it expires
                await handle.forget()
