"""A thread that runs a function on all that has arrived since its last run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BatchThread(Generic[Item]):
    """Takes items from any thread and hands them to `run`, several together.

    Its thread starts with the first item.

    Args:
        name: Of the thread.
        run: Takes 1 to `most` items in the order of their arrival.
        failed: Takes each item of a run that raised, and the error.
        most: Items a run.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[Item]], None],
        failed: Callable[[Item, BaseException], None],
        most: int = 1024,
    ) -> None:
        self._name = name
        self._run = run
        self._failed = failed
        self._most = most
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def put(self, items: Sequence[Item]) -> None:
        """Add items; after `stop` they are never run."""
        if not items:
            return
        with self._changed:
            if self._stopped:
                return
            self._waiting.extend(items)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """Drop what waits and end the thread, once its run has ended, for at most so long."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _serve(self) -> None:
        while batch := self._take():
            try:
                self._run(batch)
            except BaseException as error:  # noqa: BLE001  # `failed` ends the items
                for item in batch:
                    self._failed(item, error)

    def _take(self) -> list[Item]:
        with self._changed:
            while not self._waiting and not self._stopped:
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
