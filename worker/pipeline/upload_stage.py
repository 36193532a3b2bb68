"""Second stage: reads uploads, `redis://uploads/…`. Preparation processes do not know Redis.

A thread of its own reads all that arrived meanwhile in one round trip. What was read and has not
ended yet is bounded in bytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from clip_worker.contract.uri import is_upload
from worker.pipeline.batch_thread import BatchThread

if TYPE_CHECKING:
    from worker.pipeline.image_task import ImageTask

MOST_AT_ONCE = 32  # uploads a round trip


class ReadsUploads(Protocol):
    """Gives the bytes of uploads; `clip_worker.redis.uploads.UploadStore` does."""

    def get_small(self, uris: Sequence[str]) -> list[bytes | Exception | None]:
        """The bytes of each, None if there are many, or what is wrong with it."""

    def get(self, uri: str, max_bytes: int) -> bytes:
        """The bytes of one, however many."""


class UploadStage:
    """Sets `data` of image tasks whose images are uploads. Threads may share it.

    Args:
        store: Where the uploads are.
        max_bytes: The largest upload that is read.
        most_bytes: Of all that was read and not released; one upload may be larger.
        then: The next stage.
        failed: Takes a task whose upload can't be read, and why.
        clock: Seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        store: ReadsUploads,
        *,
        max_bytes: int,
        most_bytes: int,
        then: Callable[[Sequence[ImageTask]], object],
        failed: Callable[[ImageTask, BaseException], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.held_bytes = 0  # read and not released
        self._store = store
        self._max_bytes = max_bytes
        self._most_bytes = most_bytes
        self._then = then
        self._failed = failed
        self._clock = clock
        self._stopped = False
        self._changed = threading.Condition()
        self._thread: BatchThread[ImageTask] = BatchThread(
            "uploads", self._read, failed, MOST_AT_ONCE
        )

    def run(self, tasks: Sequence[ImageTask]) -> None:
        """Read uploads, and hand on all other tasks at once."""
        others = [task for task in tasks if not is_upload(task.image)]
        if len(others) < len(tasks):
            self._thread.put([task for task in tasks if is_upload(task.image)])
        if others:
            self._then(others)

    def release(self, task: ImageTask) -> None:
        """Drop a task's bytes; again does nothing."""
        data, task.data = task.data, None
        if data is not None:
            with self._changed:
                self.held_bytes -= len(data)
                self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """Read no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.stop(timeout_s)

    def _read(self, tasks: Sequence[ImageTask]) -> None:
        self._wait_for_room()
        start_s = self._clock()
        found = self._store.get_small([task.image for task in tasks])
        small, large = [], []
        for task, data in zip(tasks, found, strict=True):
            if isinstance(data, bytes):
                self._keep(task, data, start_s)
                small.append(task)
            elif data is None:
                large.append(task)
            else:
                self._failed(task, data)
        if small:
            self._then(small)
        for task in large:
            self._read_large(task)

    def _read_large(self, task: ImageTask) -> None:
        self._wait_for_room()
        start_s = self._clock()
        try:
            data = self._store.get(task.image, self._max_bytes)
        except Exception as error:  # noqa: BLE001  # `failed` ends the task
            self._failed(task, error)
            return
        self._keep(task, data, start_s)
        self._then([task])

    def _keep(self, task: ImageTask, data: bytes, start_s: float) -> None:
        with self._changed:
            self.held_bytes += len(data)
        task.data, task.fetch_s = data, self._clock() - start_s

    def _wait_for_room(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.held_bytes < self._most_bytes or self._stopped)
