"""Stores the embeddings of images that were encoded, on a thread that holds nothing up."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clip_worker.contract.uri import stored_uri
from worker.embeddings.store import Embedding
from worker.pipeline.batch_thread import BatchThread
from worker.pipeline.store_health import StoreHealth

if TYPE_CHECKING:
    from torch import Tensor

    from worker.embeddings.store import EmbeddingStore, Space
    from worker.metrics.instruments import Instruments
    from worker.pipeline.image_task import ImageTask
    from worker.pipeline.timer import Timer

MOST_WAITING = 4096  # embeddings; what is more is dropped
MOST_AT_ONCE = 512


class EmbeddingWriter:
    """Writes embeddings. Threads may share it.

    Args:
        store: Where they go.
        space: Of this worker's model.
        instruments: Count them.
        timer: Has the clock.
    """

    def __init__(
        self, store: EmbeddingStore, space: Space, *, instruments: Instruments, timer: Timer
    ) -> None:
        self._store = store
        self._space = space
        self._instruments = instruments
        self._clock = timer.clock
        self._health = StoreHealth("written", timer.clock)
        self._waiting = 0
        self._lock = threading.Lock()
        thread: BatchThread[Embedding] = BatchThread(
            "embedding-writer", self._write, lambda _embedding, _error: None, MOST_AT_ONCE
        )
        self._put = thread.put
        self.stop = thread.stop

    def put(self, tasks: Sequence[ImageTask], features: Tensor) -> None:
        """Have the features of images stored whose content is known.

        Args:
            tasks: B of them.
            features: float32 `[B, D]`.
        """
        rows = features.numpy()
        embeddings = [
            Embedding(task.content, stored_uri(task.image), rows[row])
            for row, task in enumerate(tasks)
            if task.content is not None and np.isfinite(rows[row]).all()
        ]
        with self._lock:
            room = max(0, MOST_WAITING - self._waiting)
            kept = embeddings[:room]
            self._waiting += len(kept)
        self._instruments.embeddings_stored("dropped", len(embeddings) - len(kept))
        self._put(kept)

    def _write(self, embeddings: Sequence[Embedding]) -> None:
        with self._lock:
            self._waiting -= len(embeddings)
        is_written = self._health.may_try(embeddings) and self._try(embeddings)
        self._instruments.embeddings_stored("written" if is_written else "dropped", len(embeddings))

    def _try(self, embeddings: Sequence[Embedding]) -> bool:
        start_s = self._clock()
        try:
            self._store.put(self._space, embeddings)
        except Exception as error:  # noqa: BLE001  # no task may suffer for it
            self._health.failed(embeddings, error)
            return False
        self._instruments.embedding_store_answered("write", self._clock() - start_s)
        self._health.answered()
        return True
