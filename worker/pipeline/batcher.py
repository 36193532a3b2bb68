"""Forms batches: image tasks in, batches run.

A batch never waits while a runner is idle (unless `max_wait_s` says so): the first task starts a
batch with whatever else waits, and while all runners are busy the next batch fills by itself. So
one task alone starts at once, and under load batches are full; there is nothing to tune.

A task whose message was in the making when a worker died is a suspect, and runs apart from all
others: with those of a few other messages after one crash, alone after two. So a message that kills
workers is found, and no other is blamed for it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.pipeline.image_task import ImageTask

logger = logging.getLogger(__name__)

GROUP = 8  # messages of one crash that run together
_WEIGHT = 0.2  # of the newest run in the average


class BatcherStoppedError(RuntimeError):
    """The batcher takes no more tasks, or was stopped before this one was run."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks that run together.

    Attributes:
        tasks: At least one.
        together: How many messages these are of, if they are suspects; None for all others.
    """

    tasks: list[ImageTask]
    together: int | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    task: ImageTask
    since: float
    due: float  # by the same clock; infinite if nothing hurries


class Batcher:
    """Gathers image tasks into batches and runs them on threads of its own.

    Args:
        run: Takes a batch and ends its tasks, whatever happens.
        failed: Takes tasks that were not run, or whose run raised, and the error.
        max_batch: Most tasks a batch.
        runners: Threads that call `run` at the same time.
        max_wait_s: How long an incomplete batch waits for more tasks, counted from its first; 0 to
            start at once. It starts earlier where one of its tasks is due before.
        clock: Seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        run: Callable[[Batch], None],
        failed: Callable[[Sequence[ImageTask], BaseException], None],
        *,
        max_batch: int,
        runners: int = 1,
        max_wait_s: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run = run
        self._failed = failed
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._suspects: deque[ImageTask] = deque()
        self._running: dict[int, Batch] = {}  # by the runner's thread id
        self._is_crowds_turn = False  # a batch of suspects has just run
        self._nearest = math.inf  # when the first of those that wait is due
        self._usual_run_s = 0.0  # a moving average
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"batch-runner-{i}", daemon=True)
            for i in range(runners)
        ]

    def start(self) -> None:
        """Start the runners."""
        for thread in self._threads:
            thread.start()

    def add(self, tasks: Sequence[ImageTask], within_s: Sequence[float | None]) -> None:
        """Hand in tasks whose pixels are there.

        Args:
            tasks: For `run`; or for `failed`, if the batcher has been stopped.
            within_s: For each, seconds after which nobody wants the result, None if nothing
                hurries. Its batch waits for others no longer than this allows.
        """
        now = self._clock()
        with self._changed:
            is_stopped = self._stopping
            if not is_stopped:
                for task, left_s in zip(tasks, within_s, strict=True):
                    self._add(task, now, math.inf if left_s is None else now + left_s)
                self._changed.notify(len(tasks))
        if is_stopped:
            self._failed(tasks, BatcherStoppedError("The batcher has been stopped."))

    def stop(self, timeout_s: float = 30.0) -> None:
        """Take no more tasks, run those that wait, and end the runners.

        What is not done within `timeout_s` seconds fails with `BatcherStoppedError`.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))
        with self._changed:
            left = [waiting.task for waiting in self._waiting] + list(self._suspects)
            left += [task for batch in self._running.values() for task in batch.tasks]
            self._waiting.clear()
            self._suspects.clear()
        if left:
            self._failed(left, BatcherStoppedError("The batcher was stopped."))

    def _add(self, task: ImageTask, now: float, due: float) -> None:
        if task.message is not None and task.message.crashes:
            self._suspects.append(task)
            return
        self._waiting.append(_Waiting(task, now, due))
        if self._max_wait_s:
            self._nearest = min(self._nearest, due)

    def _serve(self) -> None:
        while batch := self._take():
            start = self._clock()
            try:
                self._run(batch)
            except BaseException as error:
                logger.exception("A batch failed")
                self._failed(batch.tasks, error)
            run_s = self._clock() - start
            usual_s = self._usual_run_s or run_s
            self._usual_run_s = usual_s + _WEIGHT * (run_s - usual_s)

    def _take(self) -> Batch | None:
        """The next batch, as long as that takes; None once it is stopped and nothing waits."""
        thread = threading.get_ident()
        with self._changed:
            ended = self._running.pop(thread, None)
            if ended and (ended.together is not None or self._suspects):
                self._changed.notify_all()  # others may have waited for it
            while self._waiting or self._suspects or not self._stopping:
                batch, rest_s = self._next()
                if batch is not None:
                    self._running[thread] = batch
                    return batch
                self._changed.wait(rest_s)  # another runner may take them meanwhile: look again
        return None

    def _next(self) -> tuple[Batch | None, float | None]:
        """A batch that may run now, or how long to wait for one; None for until something comes."""
        if any(batch.together is not None for batch in self._running.values()):
            return None, None
        if self._suspects and not (self._waiting and self._is_crowds_turn):
            return (None if self._running else self._take_suspects()), None
        rest_s = self._rest_s()
        if rest_s is None or rest_s > 0:
            return None, rest_s
        self._is_crowds_turn = False
        return Batch(self._pop(self._max_batch)), None

    def _take_suspects(self) -> Batch:
        first = self._suspects[0].message
        assert first is not None, "suspects are known by their messages"
        alone = len(first.crashes) > 1
        messages: set[object] = set()
        tasks: list[ImageTask] = []
        for task in list(self._suspects):
            message = task.message
            assert message is not None, "as above"
            fits = message is first or (not alone and len(message.crashes) == 1)
            if not fits or len(tasks) == self._max_batch:
                continue
            if message in messages or len(messages) < GROUP:
                messages.add(message)
                tasks.append(task)
        taken = set(tasks)
        self._suspects = deque(task for task in self._suspects if task not in taken)
        self._is_crowds_turn = True
        return Batch(tasks, len(messages))

    def _pop(self, most: int) -> list[ImageTask]:
        popped = [self._waiting.popleft().task for _ in range(min(most, len(self._waiting)))]
        if self._nearest < math.inf:  # it may have been one of these
            self._nearest = min((waiting.due for waiting in self._waiting), default=math.inf)
        return popped

    def _rest_s(self) -> float | None:
        """How long the batch that fills may still wait; 0 if it must not, None if nothing waits."""
        if not self._waiting:
            return None
        if self._stopping or len(self._waiting) >= self._max_batch:
            return 0.0
        full_by = self._waiting[0].since + self._max_wait_s
        return min(full_by, self._nearest - self._usual_run_s) - self._clock()
