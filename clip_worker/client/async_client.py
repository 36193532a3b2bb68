"""The client for coroutines."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing

from clip_worker.client.arguments import (
    Labels,
    check_count,
    iterated,
    name_of,
    options_of,
    uri_of,
)
from clip_worker.client.async_handle import AsyncHandle
from clip_worker.client.async_outcomes import AsyncOutcomeStream
from clip_worker.client.async_parts import AsyncParts
from clip_worker.client.async_storage import AsyncStorage
from clip_worker.client.client import DEFAULT_CHUNK, DEFAULT_IN_FLIGHT, MAX_IN_FLIGHT
from clip_worker.client.image_chunks import decode_outcomes
from clip_worker.client.image_file import check_max_bytes
from clip_worker.client.image_request import ImageRequest
from clip_worker.client.push_plan import QueueLimit, WhenFull
from clip_worker.client.result_reader import DEFAULT_TTL_S as RESULT_TTL_S
from clip_worker.client.search import AsyncSearch
from clip_worker.client.task_encoder import SendOptions
from clip_worker.contract import DEFAULT_K, DEFAULT_SCORE, MAX_IMAGES, Score
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.contract.results import Classification, Outcome
from clip_worker.contract.uri import MAX_IMAGE_BYTES
from clip_worker.redis.pacer import Pacer
from clip_worker.redis.url import DEFAULT_REDIS_URL

MAX_CONNECTIONS = 10

_decode = Classification.model_validate


class AsyncClient(AsyncSearch, AsyncStorage):
    """Sends images to the workers and reads the results, from coroutines of one event loop.

    Its methods are those of `Client`, and raise the same errors. It starts no thread for a call,
    and does not block the event loop. Close it, or use it with `async with`; afterwards it may be
    used in another event loop.

    Args:
        url: As for `Client`.
        result_url: As for `Client`.
        queue: As for `Client`.
        max_queue_length: As for `Client`.
        when_full: As for `Client`.
        wait_limit_s: As for `Client`.
        result_ttl_s: As for `Client`.
        max_upload_bytes: As for `Client`.
        max_connections: Maximum number of connections to each Redis; calls wait for a free one.
        signing_keys: As for `Client`.

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
        max_upload_bytes: int = MAX_IMAGE_BYTES,
        max_connections: int = MAX_CONNECTIONS,
        signing_keys: str | None = None,
    ) -> None:
        limit = QueueLimit.of(max_queue_length, when_full, wait_limit_s)
        parts = AsyncParts.build(
            url,
            result_url,
            queue,
            limit,
            result_ttl_s=result_ttl_s,
            max_connections=max_connections,
            signing_keys=signing_keys,
        )
        super().__init__(url, parts, check_max_bytes(max_upload_bytes))
        self._results = parts.results
        self._submission = parts.submission
        self._turns = parts.turns

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
        score: Score = DEFAULT_SCORE,
        none_of_these: bool = False,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        task_id: str | None = None,
        priority: int = 0,
        tenant: str | None = None,
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
        async with self._turns:
            request = {**options_of(locals()), "image": uri_of(image)}
            options = SendOptions(priority, expires_s, tenant)
            task = await self._submission.encode_one(request, task_id)
        sent = await self._submission.send_one(task, options)
        return AsyncHandle(self._results, sent, _decode, time.time(), result_ttl_s)

    async def submit_many(  # noqa: PLR0913  # as for `classify`
        self,
        requests: Iterable[str | ImageRequest],
        labels: Labels | None = None,
        *,
        label_set: str | None = None,
        k: int = DEFAULT_K,
        template: str | None = None,
        templates: Iterable[str] | None = None,
        ensemble: str | None = None,
        score: Score = DEFAULT_SCORE,
        none_of_these: bool = False,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        priority: int = 0,
        tenant: str | None = None,
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
        options = SendOptions(priority, expires_s, tenant)
        ids = await self._submission.send_many(each, shared, options)
        now, pacer, handles = time.time(), Pacer(), []
        for sent in ids:
            handles.append(AsyncHandle(self._results, sent, _decode, now, result_ttl_s))
            await pacer.step()
        return handles

    def handle(self, task_id: str) -> AsyncHandle[Classification]:
        """The handle of a task that was sent earlier; see `Client.handle`.

        Raises:
            InvalidRequestError: The id is not a string, or is empty.
        """
        return AsyncHandle(self._results, name_of("task_id", task_id), _decode)

    async def classify_many(  # noqa: PLR0913  # as for `classify`
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
        score: Score = DEFAULT_SCORE,
        none_of_these: bool = False,
        threshold: float | None = None,
        deadline: float | None = None,
        return_embedding: bool = False,
        priority: int = 0,
        tenant: str | None = None,
        expires_s: float | None = None,
        result_ttl_s: float | None = None,
        keep_results: bool = False,
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
        send_options = SendOptions(priority, expires_s, tenant)

        async def send(uris: list[str]) -> AsyncHandle[list[Outcome]]:
            task_id = await self._submission.send_chunk(encoded, uris, send_options)
            return AsyncHandle(self._results, task_id, decode_outcomes, time.time(), result_ttl_s)

        each = iterated(images, "images", "call classify() for a single image")
        stream = AsyncOutcomeStream(
            each, send, chunk=chunk, in_flight=in_flight, timeout=timeout, keep_results=keep_results
        )
        async with aclosing(stream.outcomes(self._results)) as outcomes:
            async for ended in outcomes:
                yield ended
