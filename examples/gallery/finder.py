"""Finds pictures of a gallery by a text or by another picture, where workers keep embeddings."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from gallery import Gallery
from labels import Label
from limits import MAX_HITS, SEARCH_S
from pydantic import BaseModel, ConfigDict

from clip_worker import AsyncClient, ClipWorkerError, ExpiredError, SearchHit, TemporaryError

ALL: Final = 1_000  # nearest of all galleries, from which those of one are taken


class Query(BaseModel):
    """What is searched: a text, or a picture of the gallery."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Label | None = None
    picture: UUID | None = None


class Finder:
    """Searches the store of embeddings that the workers share.

    Args:
        clip: What sends the tasks.
    """

    def __init__(self, clip: AsyncClient) -> None:
        self._clip = clip
        self._is_possible: bool | None = None  # until a worker has answered
        self._asking = asyncio.Lock()

    async def is_possible(self) -> bool:
        """Whether the workers have a store; asks them until one has answered."""
        async with self._asking:
            if self._is_possible is None:
                self._is_possible = await self._ask()
            return bool(self._is_possible)

    async def find(self, gallery: Gallery, query: Query) -> list[dict[str, Any]]:
        """The nearest pictures of a gallery, as the page gets them.

        Raises:
            ClipWorkerError: The query is invalid, or can't be answered now.
        """
        picture = gallery.pictures.get(str(query.picture))
        handle = await self._clip.search(
            query.text, image=picture and picture.uri, k=ALL, expires_s=SEARCH_S
        )
        return hits_in(gallery, (await handle.get(timeout=SEARCH_S)).hits)

    async def _ask(self) -> bool | None:
        try:
            handle = await self._clip.search("a picture", k=1, expires_s=SEARCH_S)
            await handle.get(timeout=SEARCH_S)
        except (TemporaryError, ExpiredError):
            return None
        except ClipWorkerError:  # `SEARCH_DISABLED`
            return False
        return True


def hits_in(gallery: Gallery, hits: Iterable[SearchHit]) -> list[dict[str, Any]]:
    """The hits that are pictures of a gallery, the nearest first.

    An upload is known by its content. A picture on the web is known by its address, unless that has
    a query, of which the store keeps nothing.
    """
    ids = defaultdict(list)
    for picture_id, picture in gallery.pictures.items():
        ids[picture.content].append(picture_id)
    found: dict[str, float] = {}
    for hit in hits:
        for picture_id in ids.get(hit.content, []) + ids.get(hit.image, []):
            found.setdefault(picture_id, hit.cosine)
    return [{"picture": each, "cosine": cosine} for each, cosine in found.items()][:MAX_HITS]
