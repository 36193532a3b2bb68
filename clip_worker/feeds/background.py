"""Reads a place on a thread of its own, so that a run never waits for it."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from clip_worker.errors import ClipWorkerError, TemporaryError

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_CHECK_S = 0.1  # whether it should stop, while there is no room

T = TypeVar("T")


class Background(Generic[T]):
    """Calls a function again and again, and hands on what it returns, a few of them ahead.

    After a temporary error it tries again, after longer and longer pauses; any other error is
    raised by `take`.

    Args:
        name: Of the thread.
        read: Returns what is new, after a few seconds at most.
        room: How many wait to be taken at most; 0 for any number.
    """

    def __init__(self, name: str, read: Callable[[], Iterable[T]], room: int) -> None:
        self._name = name
        self._read = read
        self._ready: queue.Queue[T] = queue.Queue(room)
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, when `read` returns; again does nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def pause(self, pause_s: float) -> None:
        """Wait, in `read`; `stop` ends the wait."""
        self._stopping.wait(pause_s)

    def take(self, timeout_s: float) -> T | None:
        """The next of what was read; None if there is nothing within the time.

        Raises:
            ClipWorkerError: Reading has failed for good.
        """
        with contextlib.suppress(queue.Empty):
            return self._ready.get(timeout=timeout_s) if timeout_s > 0 else self._ready.get_nowait()
        if self._error is not None:
            raise self._error
        return None

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping.is_set():
            try:
                for each in self._read():
                    self._put(each)
                pause_s = 0.0
            except TemporaryError as error:
                if not pause_s:
                    logger.warning("%s Trying again until it succeeds.", error)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s or FIRST_PAUSE_S)
                self.pause(pause_s)
            except ClipWorkerError as error:
                self._error = error
                return
            except Exception as error:
                logger.exception("%s has failed", self._name)
                self._error = error
                return

    def _put(self, each: T) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(each, timeout=_CHECK_S)
                return
