"""Opens the store of embeddings that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_worker.errors import InvalidRequestError
from clip_worker.quoting import shown_uri
from clip_worker.redis.url import connect
from worker.settings.embeddings import DEFAULT_MAX_BYTES, lance_place, store_url_remedy

if TYPE_CHECKING:
    from worker.embeddings.store import EmbeddingStore


def open_store(url: str, *, max_bytes: int = DEFAULT_MAX_BYTES) -> EmbeddingStore:
    """Open a store, which connects when it is first used.

    Args:
        url: `redis://`, `rediss://` or `sentinel://`; `lance:///path`, or `lance+s3://bucket/path`.
        max_bytes: Of Redis's memory for embeddings.

    Raises:
        InvalidRequestError: `BAD_EMBEDDING_STORE`.
    """
    if remedy := store_url_remedy(url):
        raise InvalidRequestError(
            f"{shown_uri(url)} is not the URL of a store of embeddings; {remedy}.",
            "BAD_EMBEDDING_STORE",
        )
    if place := lance_place(url):
        from worker.embeddings.lance_store import LanceStore

        return LanceStore(place)
    from worker.embeddings.redis_store import RedisStore

    return RedisStore(connect(url, retries=0), max_bytes)
