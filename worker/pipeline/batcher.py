"""Dynamic batching: single items in, batches run, single results out.

It knows nothing of pictures or models: it is handed a callable that takes several items. A batch is
never waited for while a runner stands idle (unless `max_wait_s` says so): the first item starts a
batch with whatever else waits, and while all runners are busy the next batch fills by itself. So
one task alone starts at once, and under load batches are full; there is nothing to tune.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from worker.pipeline.batch_result import Batched, Futures, Key_contra, Receiver

Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)

_WEIGHT = 0.2  # of the newest run in the average


__all__ = ["Batched", "Batcher", "BatcherStoppedError"]


class BatcherStoppedError(RuntimeError):
    """The batcher takes no more items, or was stopped before this one was run."""


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    key: Any  # as its receiver knows it
    receiver: Receiver[Any, Result]
    since: float
    due: float  # by the same clock; infinite if nothing hurries


@dataclass(frozen=True)
class _Running(Generic[Item, Result]):
    batch: list[_Waiting[Item, Result]]
    since: float  # infinite until it begins


class Batcher(Generic[Item, Result]):
    """Gathers items into batches and runs them on threads of its own.

    Args:
        run: Takes 1 to `max_batch` items, gives as many results in the same order. What it raises
            goes to every item of that batch, and only to these.
        max_batch: Most items a batch.
        runners: Threads that call `run` at the same time; one for each replica of the model.
        max_wait_s: How long an incomplete batch waits for more items, counted from its first; 0 to
            start at once. It starts earlier where one of its items is due before.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_batch: int,
        runners: int = 1,
        max_wait_s: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._running: dict[int, _Running[Item, Result]] = {}  # by the runner's thread id
        self._futures: Futures[Result] = Futures()
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

    def submit(self, item: Item, *, within_s: float | None = None) -> Future[Batched[Result]]:
        """Hand in one item.

        Args:
            item: For `run`.
            within_s: Seconds after which nobody wants the result; its batch waits for others no
                longer than this allows, less what a run takes. None if nothing hurries.

        Returns:
            A future that always ends: with the item's result, with what `run` raised, or with
            `BatcherStoppedError`.

        Raises:
            BatcherStoppedError: The batcher has been stopped.
        """
        future: Future[Batched[Result]] = Future()
        self.submit_for(self._futures, future, item, within_s=within_s)
        return future

    def submit_for(
        self,
        receiver: Receiver[Key_contra, Result],
        key: Key_contra,
        item: Item,
        *,
        within_s: float | None = None,
    ) -> None:
        """Hand in one item whose result goes to a receiver, in one call for all of its batch.

        Args:
            receiver: Always hears of the item: `take`, `fail`, or `accepts` or `may_run` that said
                no.
            key: What the receiver knows the item by.
            item: For `run`.
            within_s: As for `submit`.

        Raises:
            BatcherStoppedError: The batcher has been stopped; the receiver hears nothing.
        """
        now = self._clock()
        due = math.inf if within_s is None else now + within_s
        with self._changed:
            if self._stopping:
                raise BatcherStoppedError("The batcher has been stopped.")
            self._waiting.append(_Waiting(item, key, receiver, now, due))
            if self._max_wait_s:
                self._nearest = min(self._nearest, due)
            self._changed.notify()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be run."""
        return not self._waiting

    def oldest_run_s(self) -> float:
        """Seconds that the longest of the runs under way has been running; 0 if none is."""
        with self._changed:
            began = [running.since for running in self._running.values()]
        return max(0.0, self._clock() - min(began)) if began else 0.0

    def stop(self, timeout_s: float = 30.0) -> None:
        """Take no more items, run those that wait, and end the runners.

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
            never_run, hung = self._pop(len(self._waiting)), list(self._running.values())
        error = BatcherStoppedError("The batcher was stopped.")
        for batch in [never_run, *(running.batch for running in hung)]:
            _fail(batch, error)

    def _serve(self) -> None:
        while batch := self._take():
            with _logged():
                batch = [each for each in batch if each.receiver.may_run(each.key)]
            if batch:
                self._run_batch(batch)

    def _take(self) -> list[_Waiting[Item, Result]]:
        """The next batch, as long as that takes; empty once the batcher stops and nothing waits."""
        with self._changed:
            self._running.pop(threading.get_ident(), None)
            while self._waiting or not self._stopping:
                rest_s = self._rest_s()
                if rest_s is None or rest_s > 0:
                    self._changed.wait(rest_s)  # another runner may take them meanwhile: look again
                elif batch := self._pop(self._max_batch):
                    self._running[threading.get_ident()] = _Running(batch, math.inf)
                    return batch
            return []

    def _pop(self, most: int) -> list[_Waiting[Item, Result]]:
        """Take up to `most` items that nobody has cancelled off the queue."""
        popped: list[_Waiting[Item, Result]] = []
        while self._waiting and len(popped) < most:
            waiting = self._waiting.popleft()
            if waiting.receiver.accepts(waiting.key):
                popped.append(waiting)
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

    def _run_batch(self, batch: list[_Waiting[Item, Result]]) -> None:
        start = self._clock()
        with self._changed:
            self._running[threading.get_ident()] = _Running(batch, start)
        try:
            results = _same_length(self._run([waiting.item for waiting in batch]), len(batch))
        except BaseException as error:  # noqa: BLE001  # whatever it is, every waiter must hear of it
            _fail(batch, error)
            return
        run_s = self._clock() - start
        usual_s = self._usual_run_s or run_s
        self._usual_run_s = usual_s + _WEIGHT * (run_s - usual_s)
        size = len(batch)
        batched = [
            Batched(value, start - waiting.since, run_s, size)
            for waiting, value in zip(batch, results, strict=True)
        ]
        for receiver, indices in _by_receiver(batch):
            with _logged():
                receiver.take([batch[i].key for i in indices], [batched[i] for i in indices])


def _fail(batch: Sequence[_Waiting[Item, Result]], error: BaseException) -> None:
    for receiver, indices in _by_receiver(batch):
        with _logged():
            receiver.fail([batch[i].key for i in indices], error)


def _by_receiver(
    batch: Sequence[_Waiting[Item, Result]],
) -> list[tuple[Receiver[Any, Result], list[int]]]:
    """Each receiver of a batch, and which of the items are its."""
    found: dict[int, tuple[Receiver[Any, Result], list[int]]] = {}
    for i, waiting in enumerate(batch):
        found.setdefault(id(waiting.receiver), (waiting.receiver, []))[1].append(i)
    return list(found.values())


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """A receiver that fails must not end the runner, nor keep the others from their results."""
    try:
        yield
    except Exception:
        logger.exception("A batch's receiver failed")


def _same_length(results: Sequence[Result], count: int) -> Sequence[Result]:
    if len(results) != count:
        raise RuntimeError(f"{count} items went in, {len(results)} results came out.")
    return results
