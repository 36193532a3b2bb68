"""Calls of several threads, computed together.

Ten texts cost a tower hardly more than one: on a GPU what counts is the number of batches, and on a
CPU every batch reads all the weights. So while one batch is computed those who come meanwhile line
up, and whoever is next computes for all who stand there. Nobody waits for a batch to fill.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import torch
from torch import Tensor


class JointCalls:
    """A function of rows that several threads call. Each call ends with its own rows' results.

    Args:
        compute: From rows to as many results, `[rows, …]`, in order. What it raises goes to all
            whose rows it was given.
        most: Rows that are gathered; a single call may bring more.
        at_once: Threads that compute at the same time.
    """

    def __init__(
        self, compute: Callable[[Sequence[Tensor]], Tensor], *, most: int, at_once: int = 1
    ) -> None:
        self._compute = compute
        self._most = most
        self._line: deque[_Call] = deque()
        self._lock = threading.Lock()
        self._places = threading.Semaphore(at_once)

    def __call__(self, rows: Sequence[Tensor]) -> Tensor:
        """The results of these rows, `[rows, …]`; perhaps a view of a larger tensor."""
        call = _Call(rows)
        with self._lock:
            self._line.append(call)
        with self._places:
            # Whoever still stands in line has a thread that comes past here, so none is forgotten.
            while batch := self._draw_until(call):
                self._run(batch)
        return call.result.result()

    def _draw_until(self, call: _Call) -> list[_Call]:
        """The first in line, as many as fit; none once this call has been drawn."""
        batch: list[_Call] = []
        with self._lock:
            if call.drawn:
                return batch
            rows = 0
            while self._line and (not batch or rows + len(self._line[0].rows) <= self._most):
                batch.append(self._line.popleft())
                batch[-1].drawn = True
                rows += len(batch[-1].rows)
        return batch

    def _run(self, batch: Sequence[_Call]) -> None:
        try:
            results = self._compute([row for call in batch for row in call.rows])
            shares = torch.split(results, [len(call.rows) for call in batch])
        except BaseException as error:  # noqa: BLE001  # they wait in other threads
            for call in batch:
                call.result.set_exception(error)
        else:
            for call, share in zip(batch, shares, strict=True):
                call.result.set_result(share)


class _Call:
    """One thread's rows, and what becomes of them."""

    __slots__ = ("drawn", "result", "rows")

    def __init__(self, rows: Sequence[Tensor]) -> None:
        self.rows = rows
        self.drawn = False
        self.result: Future[Tensor] = Future()
