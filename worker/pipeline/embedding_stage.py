"""Between labels and pixels, where embeddings are kept: images whose embedding is stored skip both.

An upload's URI has its hash, so it is looked up before it is read. The hash of all others is known
when a preparation process has fetched them: the process asks whether to decode. A stored feature
goes to the score stage directly. A message that was in a crash of a worker is never looked up: it
runs as it did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from clip_worker.contract.uri import find_upload, is_upload
from worker.pipeline.batch_thread import BatchThread
from worker.pipeline.embedding_lookup import EmbeddingLookup
from worker.pipeline.embedding_writer import EmbeddingWriter

if TYPE_CHECKING:
    from torch import Tensor

    from worker.embeddings.store import EmbeddingStore, Space
    from worker.metrics.instruments import Instruments
    from worker.pipeline.image_task import ImageTask
    from worker.pipeline.timer import Timer

Tasks = Sequence["ImageTask"]


class AnswersQuestions(Protocol):
    """Has images decoded, or not; `worker.preparation.pool.PreparationPool` does."""

    def answer(self, keys: Sequence[int], *, is_wanted: bool) -> None:
        """Have images decoded that were fetched, or end them without pixels."""


class EmbeddingStage:
    """Sets `content` and `feature` of image tasks. Threads may share it.

    Args:
        store: Where embeddings are kept.
        space: Of this worker's model.
        pool: Asks whether to decode.
        read: Reads uploads, and takes all other images.
        known: Scores images whose features are known; on a thread of this stage.
        failed: Takes a task that could not be scored, and why.
        instruments: Count lookups and writes.
        timer: Ends the wait for the store.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        store: EmbeddingStore,
        space: Space,
        *,
        pool: AnswersQuestions,
        read: Callable[[Tasks], object],
        known: Callable[[Tasks], None],
        failed: Callable[[ImageTask, BaseException], None],
        instruments: Instruments,
        timer: Timer,
    ) -> None:
        self._store = store
        self._pool = pool
        self._read = read
        self._lookup = EmbeddingLookup(
            store, space, answered=self._answered, instruments=instruments, timer=timer
        )
        self._writer = EmbeddingWriter(store, space, instruments=instruments, timer=timer)
        self._clock = timer.clock
        self._known: BatchThread[ImageTask] = BatchThread("known-images", known, failed)

    def run(self, tasks: Tasks) -> None:
        """Look uploads up, and hand on all other images."""
        uploads, others = [], []
        for task in tasks:
            upload = None if _is_suspect(task) else find_upload(task.image)
            if upload:
                task.content = upload.digest
                uploads.append(task)
            else:
                others.append(task)
        if uploads:
            self._lookup.ask(uploads)
        if others:
            self._read(others)

    def was_read(self, tasks: Tasks) -> None:
        """Forget the hash of uploads that are not what their names say: they are not stored."""
        for task in tasks:
            if task.data is not None and task.content is not None:
                is_genuine = hashlib.sha256(task.data).hexdigest() == task.content
                task.content = task.content if is_genuine else None

    def fetched(self, tasks: Tasks) -> None:
        """Look images up that a preparation process has fetched; their `content` is known."""
        suspects = [task for task in tasks if _is_suspect(task)]
        if suspects:
            self._pool.answer([task.key for task in suspects], is_wanted=True)
        if others := [task for task in tasks if not _is_suspect(task)]:
            self._lookup.ask(others)

    def ready(self, tasks: Tasks) -> None:
        """Take images whose features are known."""
        self._known.put(tasks)

    def encoded(self, tasks: Tasks, features: Tensor) -> None:
        """Have the features of images stored; float32 `[B, D]`."""
        self._writer.put(tasks, features)

    def stop(self, timeout_s: float) -> None:
        """End the threads, and the connections to the store."""
        for thread in (self._lookup, self._known, self._writer):
            thread.stop(timeout_s)
        self._store.close()

    def _answered(self, tasks: Tasks) -> None:
        uploads = [task for task in tasks if is_upload(task.image)]
        known = [task for task in uploads if task.feature is not None]
        for task in known:
            task.prepared_s = self._clock()
        self.ready(known)
        if unknown := [task for task in uploads if task.feature is None]:
            self._read(unknown)
        others = [task for task in tasks if not is_upload(task.image)]
        for is_wanted in (False, True):
            keys = [task.key for task in others if (task.feature is None) == is_wanted]
            if keys:
                self._pool.answer(keys, is_wanted=is_wanted)


def _is_suspect(task: ImageTask) -> bool:
    return task.message is not None and bool(task.message.crashes)
