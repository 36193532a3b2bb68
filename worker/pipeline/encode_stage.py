"""Third stage: a batch of pixels to image features, by the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from worker.errors import ExpiredError, TemporaryError
from worker.pipeline.fetch_stage import check_deadline
from worker.pipeline.score_stage import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine
    from worker.pipeline.batcher import Batch
    from worker.pipeline.fatal import Fatal
    from worker.pipeline.image_task import ImageTask, Message

# Given messages and how many run apart from all others (None for any number of others), notes that
# they are begun. Gives those that may run; the others are revoked or another worker's.
Begin = Callable[[Sequence[Any], int | None], Sequence[Any]]


def begin_all(messages: Sequence[Message], together: int | None) -> Sequence[Message]:  # noqa: ARG001  # as `Begin`
    """Let all messages run, where nobody keeps account of them."""
    return messages


class SharedImages(Protocol):
    """Where pixels stand; `worker.preparation.pool.PreparationPool` is one."""

    @property
    def images(self) -> Tensor:
        """uint8 `[S, 3, R, R]`."""

    def release(self, slots: Sequence[int]) -> None:
        """Free slots whose pixels are not needed any more."""


class EncodeStage:
    """Runs batches. Threads may share it.

    Args:
        engine: Encodes.
        shared: Where the pixels stand.
        begin: Asked before each batch.
        in_flight: The tasks that have not ended, by key.
        then: The next stage.
        failed: Takes a task that can't be encoded, and why.
        fatal: Judges what a batch fails with.
        now: Unix time in seconds.
        clock: Seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        engine: Engine,
        shared: SharedImages,
        *,
        begin: Begin,
        in_flight: dict[int, ImageTask],
        then: Callable[[Sequence[Encoded]], None],
        failed: Callable[[ImageTask, BaseException], None],
        fatal: Fatal,
        now: Callable[[], float],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._shared = shared
        self._begin = begin
        self._in_flight = in_flight
        self._then = then
        self._failed = failed
        self._fatal = fatal
        self._now = now
        self._clock = clock
        self._images = shared.images.unbind()  # S times uint8 [3, R, R]
        self._began: dict[int, float] = {}  # when a thread's forward pass did, by its id

    def run(self, batch: Batch) -> None:
        """Encode the tasks of a batch that may still run, and free all their slots."""
        slots = [task.slot for task in batch.tasks if task.slot is not None]
        try:
            tasks = self._begun([task for task in batch.tasks if self._is_wanted(task)], batch)
            if tasks:
                self._encode(tasks)
        except BaseException as error:  # noqa: BLE001  # the tasks' owners must hear of it
            self.fail(batch.tasks, error)
        finally:
            self._shared.release(slots)
        if batch.together is not None:
            self._end_quarantine(batch)

    def oldest_run_s(self) -> float:
        """Seconds that the longest forward pass under way has been running; 0 if none is."""
        began = list(self._began.values())
        return max(0.0, self._clock() - min(began)) if began else 0.0

    def fail(self, tasks: Sequence[ImageTask], error: BaseException) -> None:
        """Fail tasks, and raise the alarm first if this process can run no further batch."""
        told = self._fatal.judged(error)
        for task in tasks:
            self._failed(task, told)

    def _encode(self, tasks: list[ImageTask]) -> None:
        start = self._began[threading.get_ident()] = self._clock()
        try:
            features = self._engine.encode_pixels([self._images[task.slot or 0] for task in tasks])
        finally:
            del self._began[threading.get_ident()]
        if len(features) != len(tasks):
            raise RuntimeError(f"{len(tasks)} images went in, {len(features)} features came out.")
        self._then([Encoded(tasks, features, start, self._clock() - start)])

    def _is_wanted(self, task: ImageTask) -> bool:
        if task.key not in self._in_flight:
            return False
        try:
            check_deadline(task, self._now(), "it was encoded")
        except ExpiredError as error:
            self._failed(task, error)
            return False
        return True

    def _begun(self, tasks: list[ImageTask], batch: Batch) -> list[ImageTask]:
        messages = _messages(tasks)
        begun = set(self._begin(messages, batch.together)) if messages else set()
        mine = []
        for task in tasks:
            if task.message is None or task.message in begun:
                mine.append(task)
            else:
                self._failed(task, _not_begun(task))
        return mine

    def _end_quarantine(self, batch: Batch) -> None:
        """Messages with more images go on beside others: the history must not say alone."""
        left = [message for message in _messages(batch.tasks) if not message.ended]
        if left:
            self._begin(left, None)


def _messages(tasks: Sequence[ImageTask]) -> list[Message]:
    return list({task.message: None for task in tasks if task.message is not None})


def _not_begun(task: ImageTask) -> Exception:
    if task.message is not None and task.message.ended:
        return ExpiredError("The task was revoked, or ended, before it was run.", "REVOKED")
    return TemporaryError("The message has become another worker's.", "STOPPING")
