"""The client for coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Self

from clip_worker.client.arguments import (
    Labels,
    check_count,
    iterated,
    listed,
    name_of,
    options_of,
    uri_of,
)
from clip_worker.client.async_handle import AsyncHandle
from clip_worker.client.async_outcomes import AsyncOutcomeStream
from clip_worker.client.async_parts import AsyncParts
from clip_worker.client.async_submission import has_many_labels
from clip_worker.client.client import DEFAULT_CHUNK, DEFAULT_IN_FLIGHT, MAX_IN_FLIGHT
from clip_worker.client.image_chunks import decode_outcomes
from clip_worker.client.image_request import ImageRequest
from clip_worker.client.pacer import Pacer
from clip_worker.client.push_plan import QueueLimit, WhenFull
from clip_worker.client.result_reader import DEFAULT_TTL_S as RESULT_TTL_S
from clip_worker.client.task_encoder import SendOptions
from clip_worker.contract import DEFAULT_K, MAX_IMAGES, RequestOptions, parse
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.contract.results import Classification, Outcome
from clip_worker.redis.error_translation import translated
from clip_worker.redis.label_sets import KEY_PREFIX, encode_label_set
from clip_worker.redis.url import DEFAULT_REDIS_URL

MAX_CONNECTIONS = 10


class AsyncClient:
    """Sends images to the workers and reads the results, from coroutines of one event loop.

    Its methods are those of `Client`, and raise the same errors. It starts no thread for a call,
    and does not block the event loop. Close it, or use it with `async with`; afterwards it may be
    used in another event loop.

    Args:
        url: As for `Client`.
        result_url: Likewise.
        queue: Likewise.
        max_queue_length: Likewise.
        when_full: Likewise.
        wait_limit_s: Likewise.
        result_ttl_s: Likewise.
        max_connections: Maximum number of connections to each Redis; calls wait for a free one.

    Raises:
        InvalidRequestError: `BAD_REDIS_URL`, or another argument is invalid.
    """

    def __init__(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        url: str = DEFAULT_REDIS_URL,
        *,
        result_url: str | None = None,
        queue: str = DEFAULT_QUEUE,
        max_queue_length: int | None = None,
        when_full: WhenFull = "error",
        wait_limit_s: float = 60.0,
        result_ttl_s: float = RESULT_TTL_S,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.url = url
        limit = QueueLimit.of(max_queue_length, when_full, wait_limit_s)
        self._parts = AsyncParts.build(
            url,
            result_url,
            queue,
            limit,
            result_ttl_s=result_ttl_s,
            max_connections=max_connections,
        )
        self._results = self._parts.results
        self._submission = self._parts.submission

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections and end the background tasks.

        Raises:
            RuntimeError: The client is used in another event loop.
        """
        await self._parts.aclose()

    async def classify(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        image: str,
        labels: Labels | None = None,
        *,
        label_set: str | None = None,
        k: int = DEFAULT_K,
        template: str | None = None,
        templates: Iterable[str] | None = None,
        ensemble: str | None = None,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        task_id: str | None = None,
        priority: int = 0,
        expires_s: float | None = None,
        result_ttl_s: float | None = None,
        webhook: str | None = None,
    ) -> AsyncHandle[Classification]:
        """Send one image; see `Client.classify`.

        If it is cancelled, the image may have been sent or not; pass a `task_id` to send it again
        without doing so twice.

        Raises:
            InvalidRequestError: The request is invalid; nothing was sent.
            QueueFullError: `max_queue_length` messages are waiting.
            QueueUnavailableError: Redis can't be reached or accepts no messages.
        """
        request = {**options_of(locals()), "image": uri_of(image)}
        sent = await self._submission.send_one(request, SendOptions(priority, expires_s), task_id)
        return AsyncHandle(self._results, sent, Classification.model_validate, time.time())

    async def submit_many(  # noqa: PLR0913  # likewise
        self,
        requests: Iterable[str | ImageRequest],
        labels: Labels | None = None,
        *,
        label_set: str | None = None,
        k: int = DEFAULT_K,
        template: str | None = None,
        templates: Iterable[str] | None = None,
        ensemble: str | None = None,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        priority: int = 0,
        expires_s: float | None = None,
        result_ttl_s: float | None = None,
        webhook: str | None = None,
    ) -> list[AsyncHandle[Classification]]:
        """Send many images, each with its own message and handle; see `Client.submit_many`.

        `async_as_completed` yields the handles as their tasks end.

        Raises:
            InvalidRequestError: A request is invalid; nothing was sent.
            QueueFullError: There is no room for all of them, or there was none for `wait_limit_s`.
            QueueUnavailableError: Redis can't be reached, or accepts no messages. `sent` of either
                error has the ids of the tasks that were sent before it.
        """
        shared = options_of(locals())
        each = iterated(requests, "requests", "call classify() for a single image")
        ids = await self._submission.send_many(each, shared, SendOptions(priority, expires_s))
        return await self._handles(ids)

    async def _handles(self, ids: list[str]) -> list[AsyncHandle[Classification]]:
        now, pacer = time.time(), Pacer()
        handles = []
        for task_id in ids:
            handles.append(AsyncHandle(self._results, task_id, Classification.model_validate, now))
            await pacer.step()
        return handles

    def handle(self, task_id: str) -> AsyncHandle[Classification]:
        """The handle of a task that was sent earlier; see `Client.handle`.

        Raises:
            InvalidRequestError: The id is not a string, or is empty.
        """
        return AsyncHandle(
            self._results, name_of("task_id", task_id), Classification.model_validate
        )

    async def classify_many(  # noqa: PLR0913  # likewise
        self,
        images: Iterable[str],
        labels: Labels | None = None,
        *,
        chunk: int = DEFAULT_CHUNK,
        in_flight: int = DEFAULT_IN_FLIGHT,
        timeout: float | None = None,  # noqa: ASYNC109  # of each wait, as for `Client`
        label_set: str | None = None,
        k: int = DEFAULT_K,
        template: str | None = None,
        templates: Iterable[str] | None = None,
        ensemble: str | None = None,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        priority: int = 0,
        expires_s: float | None = None,
        result_ttl_s: float | None = None,
    ) -> AsyncIterator[tuple[int, Outcome]]:
        """Send many images with the same options, and yield each outcome as it arrives.

        See `Client.classify_many`; use `async for`. It starts with the first outcome that is asked
        for, which is also when arguments are checked.

        Yields:
            An image's position in `images`, and its outcome.

        Raises:
            InvalidRequestError: The options, `chunk` or `in_flight` are invalid, or `images` is a
                single image; nothing was sent.
            TemporaryError: Redis can't be used, the queue is full, or nothing ended in time.
        """
        options = options_of(locals())
        encoded = await self._submission.encode(options)
        check_count("chunk", chunk, MAX_IMAGES)
        check_count("in_flight", in_flight, MAX_IN_FLIGHT)
        send_options = SendOptions(priority, expires_s)

        async def send(uris: list[str]) -> AsyncHandle[list[Outcome]]:
            task_id = await self._submission.send_chunk(encoded, uris, send_options)
            return AsyncHandle(self._results, task_id, decode_outcomes, time.time())

        each = iterated(images, "images", "call classify() for a single image")
        stream = AsyncOutcomeStream(each, send, chunk=chunk, in_flight=in_flight, timeout=timeout)
        async with aclosing(stream.outcomes(self._results)) as outcomes:
            async for ended in outcomes:
                yield ended

    async def put_label_set(self, name: str, labels: Labels) -> str:
        """Store labels under a name, for `label_set=name`; see `Client.put_label_set`.

        Raises:
            InvalidRequestError: The name or the labels are invalid.
            QueueUnavailableError: Redis can't be reached.
        """
        parse(RequestOptions, {"label_set": name})
        stored = listed(labels, "labels", "BAD_LABELS")
        if has_many_labels({"labels": stored}):
            version, encoded = await asyncio.to_thread(_label_set, stored)
        else:
            version, encoded = _label_set(stored)
        with translated(self.url):
            await self._parts.commands("SET", KEY_PREFIX + name, encoded)
        return version

    async def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            QueueUnavailableError: It does not answer within 5 seconds.
        """
        with translated(self.url):
            await self._parts.commands("PING")


def _label_set(labels: list[str]) -> tuple[str, str]:
    parse(RequestOptions, {"labels": labels})
    return encode_label_set(labels)
