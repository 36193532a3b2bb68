"""Reads uploads, `redis://uploads/…`: preparation processes have no connection to Redis.

A thread of its own reads all that arrived meanwhile in one round trip. What was read and is not yet
prepared is bounded in bytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from worker.pipeline.batch_thread import BatchThread

if TYPE_CHECKING:
    from worker.pipeline.image_task import ImageTask

MOST_AT_ONCE = 32  # uploads a round trip


class ReadsUploads(Protocol):
    """Gives the bytes of uploads; `worker.sources.upload.UploadStore` does."""

    def get_small(self, uris: Sequence[str]) -> list[bytes | Exception | None]:
        """The bytes of each, None where they are many, or what is wrong with it."""

    def get(self, uri: str, max_bytes: int) -> bytes:
        """The bytes of one, however many."""


class _Wanted(NamedTuple):
    task: ImageTask
    then: Callable[[Sequence[ImageTask]], object]
    failed: Callable[[ImageTask, BaseException], None]


class UploadReader:
    """Sets `data` of image tasks. Threads may share it.

    Args:
        store: Where the uploads are.
        max_bytes: The largest upload that is read.
        most_bytes: Of all that was read and not released; one upload may be larger.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: ReadsUploads,
        *,
        max_bytes: int,
        most_bytes: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._most_bytes = most_bytes
        self._clock = clock
        self._held_bytes = 0
        self._stopped = False
        self._changed = threading.Condition()
        self._thread: BatchThread[_Wanted] = BatchThread(
            "uploads", self._read, self._fail_all, MOST_AT_ONCE
        )

    def put(
        self,
        tasks: Sequence[ImageTask],
        *,
        then: Callable[[Sequence[ImageTask]], object],
        failed: Callable[[ImageTask, BaseException], None],
    ) -> None:
        """Read uploads.

        Args:
            tasks: Whose images are uploads.
            then: Takes those whose bytes are there.
            failed: Takes each of the others, and why.
        """
        self._thread.put([_Wanted(task, then, failed) for task in tasks])

    def release(self, task: ImageTask) -> None:
        """Drop a task's bytes; again does nothing."""
        data, task.data = task.data, None
        if data is not None:
            with self._changed:
                self._held_bytes -= len(data)
                self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """Read no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.stop(timeout_s)

    def _read(self, wanted: Sequence[_Wanted]) -> None:
        self._wait_for_room()
        start_s = self._clock()
        found = self._store.get_small([each.task.image for each in wanted])
        for each, data in zip(wanted, found, strict=True):
            if isinstance(data, bytes):
                self._keep(each.task, data, start_s)
            elif data is not None:
                each.failed(each.task, data)
        if small := [each.task for each in wanted if each.task.data is not None]:
            wanted[0].then(small)
        for each in (each for each, data in zip(wanted, found, strict=True) if data is None):
            self._read_large(each)

    def _read_large(self, wanted: _Wanted) -> None:
        self._wait_for_room()
        start_s = self._clock()
        try:
            data = self._store.get(wanted.task.image, self._max_bytes)
        except Exception as error:  # noqa: BLE001  # the task's owner must hear of it
            wanted.failed(wanted.task, error)
            return
        self._keep(wanted.task, data, start_s)
        wanted.then([wanted.task])

    def _keep(self, task: ImageTask, data: bytes, start_s: float) -> None:
        with self._changed:
            self._held_bytes += len(data)
        task.data, task.fetch_s = data, self._clock() - start_s

    def _wait_for_room(self) -> None:
        with self._changed:
            while self._held_bytes >= self._most_bytes and not self._stopped:
                self._changed.wait()

    def _fail_all(self, wanted: Sequence[_Wanted], error: BaseException) -> None:
        for each in wanted:
            each.failed(each.task, error)
