"""Divides a CPU's cores among the forward passes that run: all for one, one each under load.

torch's number of threads is the calling thread's own, but a thread that starts later inherits what
was set last, on whichever thread. So every block ends with one thread again, and a thread that
must not inherit calls `use_one`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class CoreShare:
    """Sets torch's threads for forward passes. Threads may share it.

    Args:
        cores: To divide; None to leave torch's setting alone.
    """

    def __init__(self, cores: int | None) -> None:
        self._cores = cores
        self._running = 0
        self._lock = threading.Lock()

    @contextmanager
    def forward_pass(self, rank: int = 1) -> Iterator[None]:
        """Have torch use this thread's share of the cores inside the block, at least one.

        The share is decided at the start: the cores divided by the number of forward passes, this
        one included.

        Args:
            rank: At most the `rank`-th part of the cores. OpenMP keeps a thread's team for later;
                if every one of 64 threads took all cores in turn, it would keep 4,032.
        """
        if self._cores is None:
            yield
            return
        with self._lock:
            self._running += 1
            threads = max(1, self._cores // max(self._running, rank))
        _use(threads)
        try:
            yield
        finally:
            self.use_one()
            with self._lock:
                self._running -= 1

    def use_one(self) -> None:
        """Have torch use one thread on this thread."""
        if self._cores is not None:
            _use(1)


def _use(threads: int) -> None:
    """Set the calling thread's number; takes less than a microsecond."""
    torch.get_num_threads()  # else a thread's first operation sets what was set last on any thread
    torch.set_num_threads(threads)
