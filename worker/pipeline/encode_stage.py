"""Fourth stage: a batch of pixels to image features, by the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clip_engine.errors import DeviceLostError
from clip_worker.errors import ExpiredError, TemporaryError
from worker.pipeline.error_translation import expired
from worker.pipeline.image_task import is_late, sharers
from worker.pipeline.score_stage import Encoded, stacked
from worker.pipeline.single_flight import SingleFlight, take_times

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine
    from worker.metrics.instruments import BatchReason
    from worker.pipeline.batcher import Batch
    from worker.pipeline.core_share import CoreShare
    from worker.pipeline.fetch_stage import ImagePool
    from worker.pipeline.image_task import ImageTask, Message

# Given messages and how many run apart from all others (None for any number of others), notes that
# work on them begins. Gives those that may run; the others are revoked or another worker's.
Begin = Callable[[Sequence[Any], int | None], Sequence[Any]]


class EncodeStage:
    """Runs batches. Threads may share it.

    Args:
        engine: Encodes.
        pool: Has the pixels.
        cores: Shared by the forward passes.
        begin: Asked before each batch.
        flights: The tasks that share an image.
        then: The next stage.
        encoded: Called after each forward pass with its images, B tasks, and their features,
            `[B, D]`.
        failed: Takes a task that can't be encoded, and why.
        device_lost: Called when the device fails for good, before its tasks fail: it may end the
            process, so that another worker does them.
        ran: Called after each forward pass with its images and why it was run.
        now: Unix time in seconds.
        clock: Seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        engine: Engine,
        pool: ImagePool,
        *,
        cores: CoreShare,
        begin: Begin,
        flights: SingleFlight,
        then: Callable[[Sequence[Encoded]], None],
        failed: Callable[[ImageTask, BaseException], None],
        device_lost: Callable[[BaseException], None],
        encoded: Callable[[Sequence[ImageTask], Tensor], None] = lambda _tasks, _features: None,
        ran: Callable[[int, BatchReason], object] = lambda _images, _reason: None,
        now: Callable[[], float],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._cores = cores
        self._begin = begin
        self._flights = flights
        self._then = then
        self._failed = failed
        self._device_lost = device_lost
        self._encoded = encoded
        self._ran = ran
        self._now = now
        self._clock = clock
        self._images = pool.images.unbind()  # S times uint8 [3, R, R]
        self._began: dict[int, float] = {}  # when a thread's forward pass did, by its id
        self._losing = threading.Lock()

    def run(self, batch: Batch) -> None:
        """Encode the tasks of a batch that may still run, and free all their slots."""
        is_device_lost = False
        try:
            self._flights.close(batch.tasks)
            leaders = {task: leader for leader in batch.tasks for task in sharers(leader)}
            if tasks := self._begun(leaders, together=1 if batch.is_alone else None):
                self._encode(tasks, leaders, batch)
        except DeviceLostError:  # it may end the process, and the history must say alone then
            is_device_lost = True
            raise
        finally:
            self._pool.release([task.slot for task in batch.tasks if task.slot is not None])
            if batch.is_alone and not is_device_lost:
                self._end_quarantine(batch)

    def hand_on(self, images: Sequence[ImageTask]) -> None:
        """Hand on images whose features are known, as far as their tasks may still run."""
        self._flights.close(images)
        leaders = {task: leader for leader in images for task in sharers(leader)}
        if tasks := self._begun(leaders, together=None):
            _share_times(tasks, leaders)
            features = stacked([leaders[task].feature for task in tasks])
            self._then([Encoded(tasks, features, self._clock(), 0.0, 0, is_stored=True)])

    def oldest_run_s(self) -> float:
        """Seconds that the longest forward pass under way has been running; 0 if none is."""
        began = list(self._began.values())
        return max(0.0, self._clock() - min(began)) if began else 0.0

    def fail(self, tasks: Sequence[ImageTask], error: BaseException) -> None:
        """Fail tasks whose batch failed."""
        if isinstance(error, DeviceLostError):
            with self._losing:  # another runner's tasks wait for the end too
                self._device_lost(error)
        for task in tasks:
            self._flights.fail(task, error)

    def _encode(
        self, tasks: list[ImageTask], leaders: dict[ImageTask, ImageTask], batch: Batch
    ) -> None:
        """Encode each image once; `leaders` has the task whose slot has the pixels of each."""
        images = list(dict.fromkeys(leaders[task] for task in tasks))
        start = self._began[threading.get_ident()] = self._clock()
        try:
            pixels = [self._images[image.slot or 0] for image in images]
            with self._cores.forward_pass(batch.rank):
                features = self._engine.encode_pixels(pixels)
        finally:
            del self._began[threading.get_ident()]
            self._ran(len(images), batch.reason)
        if len(features) != len(images):
            raise RuntimeError(f"{len(images)} images went in, {len(features)} features came out.")
        run_s = self._clock() - start
        self._encoded(images, features)
        if len(tasks) > len(images):
            rows = {image: row for row, image in enumerate(images)}
            features = features[[rows[leaders[task]] for task in tasks]]
            _share_times(tasks, leaders)
        self._then([Encoded(tasks, features, start, run_s, len(images))])

    def _is_wanted(self, task: ImageTask) -> bool:
        deadline = task.request.deadline
        if deadline is not None and is_late(task, now := self._now()):
            self._failed(task, expired(deadline, now, "it was encoded"))
        return task.error is None

    def _begun(self, tasks: Iterable[ImageTask], together: int | None) -> list[ImageTask]:
        """Those that are wanted, once it is noted that work on their messages begins."""
        tasks = [task for task in tasks if self._is_wanted(task)]
        messages = _messages(tasks)
        begun = set(self._begin(messages, together)) if messages else set()
        if len(begun) == len(messages):
            return tasks
        mine = []
        for task in tasks:
            if task.message is None or task.message in begun:
                mine.append(task)
            else:
                self._failed(task, _not_begun(task.message))
        return mine

    def _end_quarantine(self, batch: Batch) -> None:
        """A message with more images goes on beside others: its history must not say alone."""
        left = [message for message in _messages(batch.tasks) if not message.ended]
        if left:
            self._begin(left, None)


def _share_times(tasks: Sequence[ImageTask], leaders: Mapping[ImageTask, ImageTask]) -> None:
    for task in tasks:
        if leaders[task] is not task:
            take_times(task, leaders[task])


def _messages(tasks: Sequence[ImageTask]) -> list[Message]:
    return list({task.message: None for task in tasks if task.message is not None})


def _not_begun(message: Message) -> Exception:
    if message.ended:
        return ExpiredError("The task was revoked, or ended, before it was run.", "REVOKED")
    return TemporaryError("The message has become another worker's.", "STOPPING")
