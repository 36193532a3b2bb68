"""How clients search the images that the workers have stored embeddings of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from clip_worker.client.arguments import given, uri_of
from clip_worker.client.async_handle import AsyncHandle
from clip_worker.client.handle import Handle
from clip_worker.client.task_encoder import SendOptions
from clip_worker.contract.search import DEFAULT_HITS, SearchResult

if TYPE_CHECKING:
    from clip_worker.client.async_parts import AsyncParts
    from clip_worker.client.parts import ClientParts


class Search:
    """The part of a `Client` that searches. Thread-safe."""

    _parts: ClientParts

    def search(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        text: str | None = None,
        *,
        image: str | None = None,
        k: int = DEFAULT_HITS,
        deadline: float | None = None,
        priority: int = 0,
        tenant: str | None = None,
        expires_s: float | None = None,
    ) -> Handle[SearchResult]:
        """Search the images that the workers have stored embeddings of, and return at once.

        The workers need a store of embeddings (`CLIP_WORKER_EMBEDDING_STORE`).

        Args:
            text: What the images shall show; it is encoded without a template. Or
            image: URI of an image that they shall resemble, or what `upload` returned.
            k: Maximum number of images, 1 to 1,000.
            deadline: Unix time in seconds after which the task fails instead of running on.
            priority: 0 to 9, 0 the most urgent.
            tenant: Name of the customer who searches; customers take turns.
            expires_s: Seconds from now after which the task fails instead of running.

        Returns:
            A handle; its `get` raises `ServiceError`, code `SEARCH_DISABLED`, if the workers have
            no store.

        Raises:
            InvalidRequestError: The request is invalid; nothing was sent.
            QueueFullError: `max_queue_length` messages are waiting.
            QueueUnavailableError: Redis can't be reached or accepts no messages.
        """
        request = _request(text, image, k, deadline)
        sent = self._parts.submission.send_search(request, SendOptions(priority, expires_s, tenant))
        return Handle(self._parts.results, sent, SearchResult.model_validate, time.time())


class AsyncSearch:
    """The part of an `AsyncClient` that searches."""

    _parts: AsyncParts

    async def search(  # noqa: PLR0913  # as for `Search`
        self,
        text: str | None = None,
        *,
        image: str | None = None,
        k: int = DEFAULT_HITS,
        deadline: float | None = None,
        priority: int = 0,
        tenant: str | None = None,
        expires_s: float | None = None,
    ) -> AsyncHandle[SearchResult]:
        """Search the images that the workers have stored embeddings of; see `Client.search`.

        Raises:
            InvalidRequestError: The request is invalid; nothing was sent.
            QueueFullError: `max_queue_length` messages are waiting.
            QueueUnavailableError: Redis can't be reached or accepts no messages.
        """
        options = SendOptions(priority, expires_s, tenant)
        request = _request(text, image, k, deadline)
        sent = await self._parts.submission.send_search(request, options)
        return AsyncHandle(self._parts.results, sent, SearchResult.model_validate, time.time())


def _request(text: str | None, image: str | None, k: int, deadline: float | None) -> dict[str, Any]:
    uri = None if image is None else uri_of(image)
    return given({"text": text, "image": uri, "k": k, "deadline": deadline})
