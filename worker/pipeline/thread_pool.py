"""Threads that run what they are handed, in turn.

A `ThreadPoolExecutor` makes a future for each call, which here nobody would look at: a picture's
own future tells how it went. A hand-over through a crew costs a fraction of that.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

logger = logging.getLogger(__name__)

Call = Callable[..., Any]


class Pool(Protocol):
    """What runs calls on threads: a crew, or an executor of the standard library."""

    def submit(self, call: Call, /, *arguments: Any) -> Any:
        """Run a call soon.

        Raises:
            RuntimeError: The pool has been shut down.
        """


class CrewDismissedError(RuntimeError):
    """The crew takes no more calls."""


class Crew:
    """As many threads as it is told, started with the first call.

    Args:
        threads: How many.
        name: What their names begin with.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._calls: SimpleQueue[tuple[Call, tuple[Any, ...]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = False
        self._dismissed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{i}", daemon=True)
            for i in range(threads)
        ]

    def submit(self, call: Call, /, *arguments: Any) -> None:
        """Run a call soon; what it raises is logged.

        Raises:
            CrewDismissedError: After `shutdown`.
        """
        with self._lock:
            if self._dismissed:
                raise CrewDismissedError("The crew has been dismissed.")
            if not self._started:
                self._start()
            self._calls.put((call, arguments))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # as an executor's
        """Take no more calls, run those that wait, and end the threads.

        Args:
            wait: Whether to return only once they have ended.
            cancel_futures: Whether to drop the calls that wait.
        """
        with self._lock:
            self._dismissed = True
            if cancel_futures:
                self._drop_calls()
            for _ in self._threads:
                self._calls.put(None)
            started = self._started
        if wait and started:
            for thread in self._threads:
                thread.join()

    def _drop_calls(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._calls.get_nowait()

    def _start(self) -> None:
        self._started = True
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        while (called := self._calls.get()) is not None:
            call, arguments = called
            try:
                call(*arguments)
            except BaseException:
                logger.exception("A call failed")
            del called, call, arguments  # while it waits for the next it holds nothing
