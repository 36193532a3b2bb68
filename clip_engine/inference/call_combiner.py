"""Combines concurrent calls from several threads into one batch.

A batch of ten texts takes hardly longer than one text: on a GPU the number of batches is what
counts, and on a CPU every batch reads all of the weights. So calls that arrive while a batch is
being computed are queued, and the next thread to compute takes all of them. No call ever waits for
a batch to fill.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import torch
from torch import Tensor


class CallCombiner:
    """Wraps a function of rows. Each call returns the results of its own rows. Thread-safe.

    Args:
        compute: Maps rows to as many results, `[rows, …]`, in order. Its exceptions are raised in
            every call whose rows it was given.
        most: Largest number of rows that calls are combined to; a single call may have more.
        at_once: Number of threads that may compute at the same time.
    """

    def __init__(
        self, compute: Callable[[Sequence[Tensor]], Tensor], *, most: int, at_once: int = 1
    ) -> None:
        self._compute = compute
        self._most = most
        self._queue: deque[_Call] = deque()
        self._lock = threading.Lock()
        self._permits = threading.Semaphore(at_once)

    def __call__(self, rows: Sequence[Tensor]) -> Tensor:
        """The results of these rows, `[rows, …]`; may be a view of a larger tensor."""
        call = _Call(rows)
        with self._lock:
            self._queue.append(call)
        with self._permits:
            # Every queued call has a thread that gets here, so none is left behind.
            while batch := self._take_until(call):
                self._run(batch)
        return call.result.result()

    def _take_until(self, call: _Call) -> list[_Call]:
        """Take calls from the front of the queue, as many as fit; none once `call` was taken."""
        batch: list[_Call] = []
        with self._lock:
            if call.taken:
                return batch
            rows = 0
            while self._queue and (not batch or rows + len(self._queue[0].rows) <= self._most):
                batch.append(self._queue.popleft())
                batch[-1].taken = True
                rows += len(batch[-1].rows)
        return batch

    def _run(self, batch: Sequence[_Call]) -> None:
        try:
            results = self._compute([row for call in batch for row in call.rows])
            shares = torch.split(results, [len(call.rows) for call in batch])
        except BaseException as error:  # noqa: BLE001  # raised in the threads that wait for it
            for call in batch:
                call.result.set_exception(error)
        else:
            for call, share in zip(batch, shares, strict=True):
                call.result.set_result(share)


class _Call:
    """The rows of one call and the future of their results."""

    __slots__ = ("result", "rows", "taken")

    def __init__(self, rows: Sequence[Tensor]) -> None:
        self.rows = rows
        self.taken = False
        self.result: Future[Tensor] = Future()
