"""Sends requests from coroutines, one or many at a time, without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from clip_worker.contract import CLASSIFY, CLASSIFY_MANY, RequestOptions, parse
from clip_worker.contract.message_writer import EncodedRequest
from clip_worker.contract.search import SEARCH
from clip_worker.errors import TemporaryError
from clip_worker.redis.pacer import Pacer

if TYPE_CHECKING:
    from clip_worker.client.async_publisher import AsyncPublisher
    from clip_worker.client.task_encoder import SendOptions, Task, TaskEncoder

Encoded = TypeVar("Encoded")

MANY_LABELS = 1000  # more are validated in a thread: 100,000 take 0.2 s


class AsyncSubmission:
    """Writes messages and sends them, in one event loop.

    Args:
        encoder: Writes the messages.
        publisher: Sends them.
    """

    def __init__(self, encoder: TaskEncoder, publisher: AsyncPublisher) -> None:
        self._encoder = encoder
        self._publisher = publisher

    async def encode_one(self, request: Mapping[str, Any], task_id: str | None = None) -> Task:
        """A `clip.classify` task to send.

        Args:
            request: `image` and the request's options.
            task_id: Its id, if the caller chose it.

        Raises:
            InvalidRequestError: The request is invalid.
        """
        return await _encoded(request, lambda: self._encoder.one(request, task_id))

    async def send_one(self, task: Task, options: SendOptions) -> str:
        """Send a `clip.classify` task and return its id; see `Submission.send_one`."""
        return (await self._send(CLASSIFY, [task], options))[0]

    async def send_chunk(
        self, request: EncodedRequest, images: list[str], options: SendOptions
    ) -> str:
        """Send one `clip.classify_many` task and return its id; see `Submission.send_chunk`."""
        return (await self._send(CLASSIFY_MANY, [self._encoder.chunk(request, images)], options))[0]

    async def send_search(self, request: Mapping[str, Any], options: SendOptions) -> str:
        """Send one `clip.search` task and return its id; see `Submission.send_search`."""
        return (await self._send(SEARCH, [self._encoder.search(request)], options))[0]

    async def send_many(
        self,
        requests: Iterable[str | Mapping[str, Any]],
        shared: Mapping[str, Any],
        options: SendOptions,
    ) -> list[str]:
        """Send one `clip.classify` task for each request; see `Submission.send_many`."""
        tasks, pacer = [], Pacer()
        for task in self._encoder.many(requests, shared):
            tasks.append(task)
            await pacer.step()
        return await self._send(CLASSIFY, tasks, options)

    async def encode(self, request: Mapping[str, Any]) -> EncodedRequest:
        """Validate and encode the options of `clip.classify_many`.

        Raises:
            InvalidRequestError: They are invalid.
        """
        return await _encoded(request, lambda: EncodedRequest(parse(RequestOptions, request)))

    async def _send(self, name: str, tasks: Sequence[Task], options: SendOptions) -> list[str]:
        ids = [task.id for task in tasks]
        messages = self._encoder.messages(name, tasks, options)
        sent = 0
        try:
            send = self._publisher.send
            async for count in send(messages, len(ids), options.priority, options.tenant):
                sent += count
        except TemporaryError as error:
            error.sent = tuple(ids[:sent])
            raise
        return ids


async def _encoded(request: Mapping[str, Any], encode: Callable[[], Encoded]) -> Encoded:
    return await asyncio.to_thread(encode) if has_many_labels(request) else encode()


def has_many_labels(request: Mapping[str, Any]) -> bool:
    """Whether it takes long to validate a request."""
    labels = request.get("labels")
    return isinstance(labels, Sequence) and len(labels) > MANY_LABELS
