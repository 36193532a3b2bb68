"""Fetches images in a preparation process, on a few threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from clip_worker.errors import TemporaryError
from clip_worker.quoting import shown_uri
from worker.preparation.error_codec import PreparationError, known_error
from worker.sources.fetcher import Fetcher
from worker.sources.reservation import Reserve

_STACK_BYTES = 1024 * 1024


@dataclass(slots=True, eq=False)
class ProcessImage:
    """An image in a preparation process.

    Attributes:
        slot: Where its pixels go.
        data: Its file, once it is there.
        asks: Whether the pool is still to be asked whether to decode it.
        reserved_bytes: What it holds of `FileMemory`.
        needed_bytes: Memory that decoding takes, as estimated.
    """

    slot: int
    uri: str
    data: bytes | None
    asks: bool = False
    reserved_bytes: int = 0
    needed_bytes: int = 0
    fetch_s: float = 0.0


class FileMemory:
    """Bounds the bytes that are fetched and not decoded yet; what does not fit waits, in turn.

    An image reserves before it is read, and holds nothing while it waits. So those that hold
    something are being read or decoded, and waiting ends. One larger than all goes alone.

    Args:
        limit_bytes: Of all files together.
        waiting: int64 `[1]`: counts the images that wait.
    """

    def __init__(self, limit_bytes: int, waiting: NDArray[np.int64]) -> None:
        self._limit_bytes = limit_bytes
        self._waiting = waiting
        self.used_bytes = 0
        self._turn = threading.Lock()  # whoever has it waits for room; the others, for the turn
        self._changed = threading.Condition()

    def reserve(self, image: ProcessImage, size_bytes: int) -> None:
        """Reserve at least so many bytes for an image, and wait until there are so many."""
        if size_bytes <= image.reserved_bytes:  # as for each further piece of a body
            return
        with self._changed:
            self._waiting += 1
        self.settle(image, 0)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._fits(size_bytes))
            self._waiting -= 1
            self._hold(image, size_bytes)

    def settle(self, image: ProcessImage, size_bytes: int) -> None:
        """Reserve just what the image takes; 0 once it is decoded."""
        with self._changed:
            self._hold(image, size_bytes)
            self._changed.notify_all()

    def _fits(self, size_bytes: int) -> bool:
        return not self.used_bytes or self.used_bytes + size_bytes <= self._limit_bytes

    def _hold(self, image: ProcessImage, size_bytes: int) -> None:
        self.used_bytes += size_bytes - image.reserved_bytes
        image.reserved_bytes = size_bytes


class FetchStage:
    """Fetch threads, started as they are needed.

    Args:
        fetcher: From URI to bytes.
        memory: For the files.
        threads: Most fetches at a time.
        fetched: Called with each image that is there.
        failed: Called with each that is not, and why not.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        memory: FileMemory,
        threads: int,
        fetched: Callable[[ProcessImage], None],
        failed: Callable[[ProcessImage, PreparationError], None],
    ) -> None:
        threading.stack_size(_STACK_BYTES)
        self._fetcher = fetcher
        self._memory = memory
        self._fetched = fetched
        self._failed = failed
        self._executor = ThreadPoolExecutor(threads, "fetch")
        self._submitted: dict[int, tuple[ProcessImage, Future[None]]] = {}  # by slot

    def submit(self, image: ProcessImage) -> None:
        """Have an image fetched; called by one thread only."""
        self._submitted[image.slot] = image, self._executor.submit(self._run, image)

    def give_back(self) -> list[ProcessImage]:
        """Those that no thread has begun with; called by the thread that submits."""
        submitted, self._submitted = self._submitted, {}
        untouched = []
        for image, future in submitted.values():
            if future.cancel():
                untouched.append(image)
            elif not future.done():
                self._submitted[image.slot] = image, future
        return untouched

    def fetch(self, image: ProcessImage, reserve: Reserve) -> PreparationError | None:
        """Fetch an image on the calling thread.

        Returns:
            Why it failed, or None: then its bytes are there.
        """
        start = time.perf_counter()
        error = None
        try:
            image.data = self._fetcher.fetch(image.uri, reserve)
        except Exception as failure:  # noqa: BLE001  # whatever it is, the pool must hear of it
            error = _error_of(failure, image.uri)
        self._memory.settle(image, len(image.data or b""))
        image.fetch_s = time.perf_counter() - start
        return error

    def _run(self, image: ProcessImage) -> None:
        if (error := self.fetch(image, partial(self._memory.reserve, image))) is None:
            self._fetched(image)
        else:
            self._failed(image, error)


def _error_of(error: Exception, uri: str) -> PreparationError:
    if isinstance(error, MemoryError):
        return TemporaryError(
            f"{shown_uri(uri)} could not be fetched: the worker ran out of memory; send it again.",
            "OUT_OF_MEMORY",
        )
    return known_error(error, uri)
