"""Settings of the store of embeddings."""

from __future__ import annotations

import re

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from clip_worker.redis.url import redis_url_remedy

_LANCE = re.compile(r"lance://(?P<path>/[^/].*)|lance\+(?P<bucket>s3://[^/].*)")
DEFAULT_MAX_BYTES = 256 * 1024 * 1024


def store_url_remedy(url: str) -> str | None:
    """What to change about the invalid URL of a store of embeddings; None if it is valid."""
    if not url.startswith("lance"):
        return redis_url_remedy(url)
    return None if lance_place(url) else "give lance:///path, or lance+s3://bucket/path"


def lance_place(url: str) -> str | None:
    """Where Lance keeps the store of a URL: an absolute path, or a URL; None if it is none.

    >>> lance_place("lance:///data/embeddings"), lance_place("lance+s3://bucket/embeddings")
    ('/data/embeddings', 's3://bucket/embeddings')
    """
    found = _LANCE.fullmatch(url)
    return found and (found["path"] or found["bucket"])


class EmbeddingSettings(BaseSettings):
    """Embeddings."""

    embedding_store: str | None = Field(
        None,
        description="URL of the store in which the embeddings of images are kept "
        "([embeddings](embeddings.md)), such as `redis://host:6379/1`; an image whose embedding is "
        "there is not decoded or encoded again",
        json_schema_extra={"unset": "none are kept"},
    )
    embedding_store_max_bytes: int = Field(
        DEFAULT_MAX_BYTES,
        ge=1_048_576,
        description="memory for embeddings in Redis; those that were not used for longest are "
        "removed",
    )

    @field_validator("embedding_store", mode="before")
    @classmethod
    def _off_if_empty(cls, value: object) -> object:
        return value or None

    @field_validator("embedding_store")
    @classmethod
    def _check_store_url(cls, url: str | None) -> str | None:
        if url is not None and (remedy := store_url_remedy(url)):
            raise ValueError(remedy)
        return url
