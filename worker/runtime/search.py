"""Answers `clip.search`: encodes a text and asks the store of embeddings for the nearest images."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_engine.errors import TextTooLongError
from clip_worker.errors import InvalidRequestError
from worker.delivery.policy import timeout_error
from worker.embeddings.open import open_store
from worker.embeddings.space import space_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from clip_engine.engine import Engine
    from worker.embeddings.store import EmbeddingStore, Space
    from worker.settings import Settings

AS_IT_IS = ("{}",)  # templates of a query


def build_searcher(settings: Settings, engine: Engine) -> Searcher | None:
    """What searches the store of a worker's settings; None if there is no store."""
    if settings.embedding_store is None:
        return None
    store = open_store(settings.embedding_store, max_bytes=settings.embedding_store_max_bytes)
    return Searcher(engine, store, space_of(engine), settings.task_timeout_s)


class Searcher:
    """Searches a store of embeddings with a model. Threads may share it.

    A store without an index compares all embeddings, so one search runs at a time.

    Args:
        engine: The model.
        store: The embeddings.
        space: Those of this model.
        wait_s: Longest wait for another search to end, in seconds.
    """

    def __init__(
        self, engine: Engine, store: EmbeddingStore, space: Space, wait_s: float = 60.0
    ) -> None:
        self._engine = engine
        self._store = store
        self._space = space
        self._wait_s = wait_s
        self._turn = threading.Lock()

    def text_feature(self, text: str) -> NDArray[np.float32]:
        """The feature of a text, float32 `[D]`.

        Raises:
            InvalidRequestError: `BAD_QUERY`: the text has too many tokens.
        """
        try:
            feature = self._engine.labels.get((text,), AS_IT_IS)[0]
        except TextTooLongError as error:
            raise InvalidRequestError(str(error), "BAD_QUERY") from error
        return feature.numpy()

    def nearest(self, feature: Sequence[float] | NDArray[np.float32], k: int) -> dict[str, Any]:
        """A `clip_worker.contract.search.SearchResult` as JSON.

        Args:
            feature: `[D]`, of length 1.
            k: Maximum number of images.

        Raises:
            TemporaryError: `EMBEDDING_STORE`: the store can't be used; `TASK_TIMEOUT`: other
                searches took too long.
        """
        if not self._turn.acquire(timeout=self._wait_s):
            raise timeout_error(self._wait_s)
        try:
            hits = self._store.search(self._space, np.asarray(feature, np.float32), k)
        finally:
            self._turn.release()
        return {
            "hits": [hit._asdict() for hit in hits],
            "model": self._engine.identity.name,
            "model_digest": self._engine.identity.digest,
        }
