"""Forms batches: image tasks in, batches run.

A batch never waits while a runner is idle (unless `max_wait_s` says so): the first task starts a
batch with whatever else waits, and while all runners are busy the next batch fills by itself. So
one task alone starts at once, and under load batches are full; there is nothing to tune. Where more
waits than a batch holds, tenants take turns.

A task whose message was being worked on when a worker died is a suspect: the tasks of its message
run alone, with no other batch beside them. So a message that kills workers is found, and no other
is blamed for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.pipeline.image_task import ImageTask, sharers, tenant_of
from worker.preparation.turn_queue import TurnQueue

if TYPE_CHECKING:
    from worker.metrics.instruments import BatchReason

logger = logging.getLogger(__name__)

_WEIGHT = 0.2  # of the newest run in the moving average


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks that run together.

    Attributes:
        tasks: At least one.
        is_alone: Whether they are one suspect's, and nothing else runs meanwhile.
        reason: Why it runs now and with so many.
        rank: Of the runner, from 1. A higher one gets a batch only while all lower ones have one,
            or if it has just run one.
    """

    tasks: list[ImageTask]
    is_alone: bool = False
    reason: BatchReason = "idle"
    rank: int = 1


class Batcher:
    """Gathers image tasks into batches and runs them on threads of its own.

    Args:
        run: Takes a batch and ends its tasks.
        failed: Takes the tasks of a run that raised, and the error.
        max_batch: Gives the most tasks a batch; it may fall.
        runners: Threads that call `run` at the same time.
        max_wait_s: How long an incomplete batch waits for more tasks, counted from when its first
            was prepared; 0 to start at once. It starts early enough for the deadlines of its tasks.
        clock: Seconds, monotonic.
        now: Unix time in seconds.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        run: Callable[[Batch], None],
        failed: Callable[[Sequence[ImageTask], BaseException], None],
        *,
        max_batch: Callable[[], int],
        runners: int = 1,
        max_wait_s: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._run = run
        self._failed = failed
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._now = now
        self._waiting = TurnQueue(tenant_of)
        self._suspects: deque[ImageTask] = deque()
        self._running: dict[int, Batch] = {}  # by the runner's rank
        self._is_others_turn = False  # a suspect's batch has just run
        self._usual_run_s = 0.0  # a moving average
        self._lock = threading.Lock()
        self._wake = {rank: threading.Condition(self._lock) for rank in range(1, runners + 1)}
        self._idle: set[int] = set()  # ranks of the runners that wait to be woken
        self._stopping = False
        self._threads = [
            threading.Thread(
                target=self._serve, args=(rank,), name=f"batch-runner-{rank - 1}", daemon=True
            )
            for rank in self._wake
        ]

    def start(self) -> None:
        """Start the runners."""
        for thread in self._threads:
            thread.start()

    def add(self, tasks: Sequence[ImageTask]) -> None:
        """Take tasks whose pixels are there."""
        with self._lock:
            for task in tasks:
                is_suspect = task.message is not None and task.message.crashes
                (self._suspects if is_suspect else self._waiting).append(task)
            self._notify(len(tasks))

    def stop(self, timeout_s: float) -> None:
        """Run what waits, for at most so many seconds, and end the runners."""
        with self._lock:
            self._stopping = True
            self._notify(len(self._idle))
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def _notify(self, count: int) -> None:
        """Wake so many idle runners, those of the lowest ranks."""
        for rank in sorted(self._idle)[:count]:
            self._idle.discard(rank)
            self._wake[rank].notify()

    def _serve(self, rank: int) -> None:
        while batch := self._take(rank):
            start = self._clock()
            try:
                self._run(batch)
            except BaseException as error:
                logger.exception("A batch failed")
                self._failed(batch.tasks, error)
            run_s = self._clock() - start
            usual_s = self._usual_run_s or run_s
            self._usual_run_s = usual_s + _WEIGHT * (run_s - usual_s)

    def _take(self, rank: int) -> Batch | None:
        """The next batch, as long as that takes; None once it is stopped and nothing waits."""
        with self._lock:
            ended = self._running.pop(rank, None)
            if ended and (ended.is_alone or self._suspects):
                self._notify(len(self._idle))  # others may have waited for it
            while self._waiting or self._suspects or not self._stopping:
                batch, pause_s = self._next(rank)
                if batch is not None:
                    self._running[rank] = batch
                    return batch
                self._idle.add(rank)
                self._wake[rank].wait(pause_s)
                self._idle.discard(rank)  # another runner may take them meanwhile: look again
        return None

    def _next(self, rank: int) -> tuple[Batch | None, float | None]:
        """A batch that may run now, or how long to wait for one; None for until something comes."""
        if any(batch.is_alone for batch in self._running.values()):
            return None, None
        if self._suspects and not (self._waiting and self._is_others_turn):
            return (None if self._running else self._take_suspect(rank)), None
        pause_s = self._pause_s()
        if pause_s is None or pause_s > 0:
            return None, pause_s
        self._is_others_turn = False
        most = self._max_batch()
        reason = self._reason(most)
        tasks = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        return Batch(tasks, reason=reason, rank=rank), None

    def _reason(self, most: int) -> BatchReason:
        """Why the batch that fills runs now, a batch having at most so many images."""
        if len(self._waiting) >= most:
            return "full"
        if not self._max_wait_s or self._stopping:
            return "idle"
        waited_s = self._clock() - self._first_prepared_s()
        return "waited" if waited_s >= self._max_wait_s else "deadline"

    def _first_prepared_s(self) -> float:
        return min(task.prepared_s for task in self._waiting.firsts())

    def _take_suspect(self, rank: int) -> Batch:
        message = self._suspects[0].message
        tasks = [task for task in self._suspects if task.message is message][: self._max_batch()]
        taken = set(tasks)
        self._suspects = deque(task for task in self._suspects if task not in taken)
        self._is_others_turn = True
        return Batch(tasks, is_alone=True, reason="alone", rank=rank)

    def _pause_s(self) -> float | None:
        """How long the batch that fills may still wait; None if nothing waits."""
        if not self._waiting:
            return None
        if not self._max_wait_s or self._stopping or len(self._waiting) >= self._max_batch():
            return 0.0
        pause_s = self._first_prepared_s() + self._max_wait_s - self._clock()
        asked = [task.request.deadline for each in self._waiting for task in sharers(each)]
        deadlines = [deadline for deadline in asked if deadline is not None]
        if deadlines:
            pause_s = min(pause_s, min(deadlines) - self._now() - self._usual_run_s)
        return pause_s
