"""Fetches pictures in a preparation process, on a few threads."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from worker.errors import ExpiredError, TemporaryError
from worker.preparation.error_codec import PreparationError, known_error
from worker.quoting import shown_uri
from worker.sources.reservation import Reserve

_STACK_BYTES = 1024 * 1024


@dataclass(slots=True)
class Picture:
    """A picture in a preparation process.

    Attributes:
        ticket: The pool's number for this attempt at it.
        slot: Where its pixels go.
        data: Its file, once it is there.
        ends_at_s: When nobody wants it any more, by `time.monotonic`.
        reserved: Bytes of `FileMemory` that it holds.
    """

    ticket: int
    slot: int
    uri: str
    data: bytes | None
    ends_at_s: float | None
    reserved: int = 0
    fetch_s: float = 0.0

    def check_deadline(self) -> None:
        """Raise `ExpiredError` if nobody wants it any more."""
        if self.ends_at_s is not None and time.monotonic() > self.ends_at_s:
            raise ExpiredError("The deadline passed before the picture was decoded.")


class Fetches(Protocol):
    """Whatever gives a URI's bytes; `worker.sources.Fetcher` does."""

    def fetch(self, uri: str, reserve: Reserve) -> bytes:
        """The bytes, or an error of `worker.errors`, or what `reserve` raises."""


class FileMemory:
    """Bounds the bytes that are fetched and not decoded yet; who does not fit waits, in turn.

    A picture reserves before it is read, and holds nothing while it waits. So those that hold
    something are being read or decoded, and waiting ends. One larger than all goes alone.

    Args:
        limit_bytes: Of all files together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.used_bytes = 0
        self._turns: deque[object] = deque()
        self._changed = threading.Condition()

    def reserve(self, picture: Picture, size_bytes: int) -> None:
        """See to it that a picture has at least so much room, and wait for it."""
        turn = object()
        with self._changed:
            if size_bytes <= picture.reserved:  # as for each further piece of a body
                return
            self._take(picture, -picture.reserved)
            self._changed.notify_all()
            self._turns.append(turn)
            self._changed.wait_for(lambda: self._turns[0] is turn and self._fits(size_bytes))
            self._turns.popleft()
            self._take(picture, size_bytes)
            self._changed.notify_all()

    def settle(self, picture: Picture, size_bytes: int) -> None:
        """Reserve just what the picture takes; 0 once it is decoded."""
        with self._changed:
            self._take(picture, size_bytes - picture.reserved)
            self._changed.notify_all()

    def _fits(self, size_bytes: int) -> bool:
        return not self.used_bytes or self.used_bytes + size_bytes <= self._limit_bytes

    def _take(self, picture: Picture, size_bytes: int) -> None:
        picture.reserved += size_bytes
        self.used_bytes += size_bytes


class FetchStage:
    """Fetch threads, started as they are needed.

    Args:
        fetcher: From URI to bytes.
        memory: For the files.
        threads: Most fetches at a time.
        fetched: Called with each picture that is there.
        failed: Called with each that is not, and why not.
    """

    def __init__(
        self,
        fetcher: Fetches,
        memory: FileMemory,
        threads: int,
        fetched: Callable[[Picture], None],
        failed: Callable[[Picture, PreparationError], None],
    ) -> None:
        self._fetcher = fetcher
        self._memory = memory
        self._most_threads = threads
        self._fetched = fetched
        self._failed = failed
        self._waiting: queue.SimpleQueue[Picture] = queue.SimpleQueue()
        self._started = 0
        self._in_hand = 0
        self._lock = threading.Lock()

    def submit(self, picture: Picture) -> None:
        """Have a picture fetched; called by one thread only."""
        self._waiting.put(picture)
        self._count(+1)
        if self._started < min(self._in_hand, self._most_threads):
            threading.stack_size(_STACK_BYTES)
            threading.Thread(target=self._run, name=f"fetch-{self._started}", daemon=True).start()
            self._started += 1

    def give_back(self) -> Iterator[Picture]:
        """Those that no thread has begun with."""
        while True:
            try:
                picture = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._count(-1)
            yield picture

    def _count(self, change: int) -> None:
        with self._lock:
            self._in_hand += change

    def _run(self) -> None:
        while True:
            picture = self._waiting.get()
            reserve = partial(self._memory.reserve, picture)
            if (error := self.fetch(picture, reserve)) is None:
                self._fetched(picture)
            else:
                self._failed(picture, error)
            self._count(-1)

    def fetch(self, picture: Picture, reserve: Reserve) -> PreparationError | None:
        """Fetch a picture on the calling thread.

        Returns:
            Why it failed, or None: then its bytes are there.
        """
        start = time.perf_counter()
        try:
            picture.check_deadline()
            picture.data = self._fetcher.fetch(picture.uri, reserve)
            error = None
        except Exception as failure:  # noqa: BLE001  # whatever it is, the pool must hear of it
            error = _failure(failure, picture.uri)
        self._memory.settle(picture, len(picture.data or b""))
        picture.fetch_s = time.perf_counter() - start
        return error


def _failure(error: Exception, uri: str) -> PreparationError:
    if isinstance(error, MemoryError):
        return TemporaryError(
            f"{shown_uri(uri)} could not be fetched: the worker ran out of memory; send it again.",
            "OUT_OF_MEMORY",
        )
    return known_error(error, uri)
