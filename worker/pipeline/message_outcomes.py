"""The images of one `clip.classify_many` message: a window of them in flight, outcomes in order.

Not all at once: what a large message has in the pipeline would have to be done before anything of
the next one is, and its images would all lie in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from clip_worker.contract import Failure
from clip_worker.errors import ClipWorkerError, TemporaryError

if TYPE_CHECKING:
    from worker.pipeline.image_task import ImageTask
    from worker.pipeline.pipeline import Pipeline

STOPPING = "STOPPING"  # code of what this worker can't finish and another one can


class MessageOutcomes:
    """Owner of the image tasks of one message. Threads may share it.

    Args:
        pipeline: Does the work.
        window: How many images to have in flight; it may change.
        advanced: Called after each outcome but the last.
        ended: Given all outcomes, once: JSON-ready `clip_worker.contract.results.Outcome`s.
        stopped: Called, perhaps several times, when the pipeline stops.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        window: Callable[[], int],
        advanced: Callable[[], None],
        ended: Callable[[list[dict[str, Any]]], None],
        stopped: Callable[[], None],
    ) -> None:
        self._pipeline = pipeline
        self._window = window
        self._advanced = advanced
        self._ended = ended
        self._stopped = stopped
        self._tasks: Sequence[ImageTask | ClipWorkerError] = ()
        self._outcomes: list[dict[str, Any] | None] = []
        self._missing = 0
        self._sent = 0  # the first so many are in flight, or done
        self._is_sending = False
        self._lock = threading.Lock()

    def start(self, tasks: Sequence[ImageTask | ClipWorkerError]) -> None:
        """Begin with the images, each a task in the order of its `position`, or what is wrong."""
        self._tasks = tasks
        self._outcomes = [None] * len(tasks)
        self._missing = len(tasks)
        self._send()

    def finished(self, tasks: Sequence[ImageTask]) -> None:
        """Take outcomes, and send as many images on."""
        for task in tasks:
            if is_stopping(task.error):
                self._stopped()
            elif task.error is None:
                self._add(task.position, {"status": "ok", "result": task.result, "error": None})
            else:
                self._add(task.position, _failed(task.error))
        self._send()

    def time_out(self, error: ClipWorkerError) -> int:
        """End with the outcomes that are there, and this error for each image without one.

        Returns:
            How many these are; if none, it had ended before.
        """
        with self._lock:
            missing, self._missing = self._missing, 0
            if missing:
                self._outcomes = [outcome or _failed(error) for outcome in self._outcomes]
        if missing:
            self._tell()
        return missing

    def _send(self) -> None:
        with self._lock:
            if self._is_sending:  # this may be a call from within: the outer one goes on
                return
            self._is_sending = True
        while positions := self._next():
            batch: list[ImageTask] = []
            for i in positions:
                task = self._tasks[i]
                if isinstance(task, ClipWorkerError):
                    self._add(i, _failed(task))
                else:
                    batch.append(task)
            if batch:
                self._pipeline.submit(batch)

    def _next(self) -> range:
        with self._lock:
            in_flight = self._sent - (len(self._tasks) - self._missing)
            room = max(0, self._window() - in_flight) if self._missing else 0
            positions = range(self._sent, min(len(self._tasks), self._sent + room))
            self._sent = positions.stop if positions else self._sent
            self._is_sending = bool(positions)
            return positions

    def _add(self, position: int, outcome: dict[str, Any]) -> None:
        with self._lock:
            if not self._missing:  # it has taken too long
                return
            self._outcomes[position] = outcome
            self._missing -= 1
            is_last = not self._missing
        if is_last:
            self._tell()
        else:
            self._advanced()

    def _tell(self) -> None:
        self._ended([outcome for outcome in self._outcomes if outcome])


def is_stopping(error: BaseException | None) -> bool:
    """Whether another worker can do what this one can't finish."""
    return isinstance(error, TemporaryError) and error.code == STOPPING


def _failed(error: ClipWorkerError) -> dict[str, Any]:
    return {"status": "error", "result": None, "error": Failure.of(error).model_dump()}
