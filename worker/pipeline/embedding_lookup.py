"""Asks the store of embeddings about images, and never waits for it longer than a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from clip_worker.errors import TemporaryError
from worker.pipeline.batch_thread import BatchThread
from worker.pipeline.store_health import StoreHealth

if TYPE_CHECKING:
    from worker.embeddings.store import EmbeddingStore, Space
    from worker.metrics.instruments import Instruments
    from worker.pipeline.image_task import ImageTask
    from worker.pipeline.timer import Timer

LIMIT_S = 1.0


class _Lookup:
    """Images that are looked up together; compared by identity."""

    def __init__(self, tasks: Sequence[ImageTask]) -> None:
        self.waiting = list(tasks)


class EmbeddingLookup:
    """Sets `feature` of image tasks whose `content` is stored. Threads may share it.

    Args:
        store: Where embeddings are.
        space: Of this worker's model.
        answered: Given image tasks once their features are known, or known to be missing.
        instruments: Count lookups.
        timer: Ends the wait for an answer.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        space: Space,
        *,
        answered: Callable[[Sequence[ImageTask]], None],
        instruments: Instruments,
        timer: Timer,
    ) -> None:
        self._store = store
        self._space = space
        self._answered = answered
        self._instruments = instruments
        self._timer = timer
        self._health = StoreHealth("read", timer.clock)
        self._lock = threading.Lock()
        thread: BatchThread[_Lookup] = BatchThread("embeddings", self._look_up, self._give_up)
        self._put = thread.put
        self.stop = thread.stop

    def ask(self, tasks: Sequence[ImageTask]) -> None:
        """Look images up; each is answered once, at once if the store is known to be away."""
        lookup = _Lookup(tasks)
        if not self._health.may_try(lookup):
            self._skip(lookup)
            return
        self._timer.call_after(LIMIT_S, partial(self._time_out, lookup))
        self._put([lookup])

    def _look_up(self, lookups: Sequence[_Lookup]) -> None:
        asked = [task for each in lookups for task in list(each.waiting)]
        if not asked:  # it took too long until their turn came
            return
        contents = dict.fromkeys(task.content for task in asked if task.content)
        start_s = self._timer.clock()
        found = self._store.get(self._space, list(contents))
        seconds = self._timer.clock() - start_s
        self._instruments.embedding_store_answered("read", seconds)
        if seconds < LIMIT_S:
            self._health.answered()
        answered = [task for each in lookups for task in self._take(each)]
        for task in answered:
            task.feature = found.get(task.content or "")
        hits = sum(task.feature is not None for task in answered)
        self._instruments.embeddings_looked_up("hit", hits)
        self._instruments.embeddings_looked_up("miss", len(answered) - hits)
        if answered:
            self._answered(answered)

    def _give_up(self, lookup: _Lookup, error: BaseException) -> None:
        self._health.failed(lookup, error)
        self._skip(lookup)

    def _time_out(self, lookup: _Lookup) -> None:
        if lookup.waiting:
            error = TemporaryError(f"it took longer than {LIMIT_S:g} s.", "EMBEDDING_STORE")
            self._give_up(lookup, error)

    def _skip(self, lookup: _Lookup) -> None:
        if tasks := self._take(lookup):
            self._instruments.embeddings_looked_up("skipped", len(tasks))
            self._answered(tasks)

    def _take(self, lookup: _Lookup) -> list[ImageTask]:
        """Those that are not answered yet, for the caller to answer."""
        with self._lock:
            tasks, lookup.waiting = lookup.waiting, []
        return tasks
