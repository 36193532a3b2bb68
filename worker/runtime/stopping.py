"""Ends a worker's work when a signal orders it, in a thread of its own.

Celery's main thread may be running a task (`-P solo`), waiting for one, or reconnecting when the
signal comes. So it only passes the order on, and waits for the end of the work before it continues
with Celery's own shutdown. `worker.runtime.stop_signals` gives the orders.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import NoReturn

from celery.platforms import EX_FAILURE, EX_OK, close_open_fds

logger = logging.getLogger(__name__)

POLL_S = 0.05
REST_S = 5.0  # for Celery's own shutdown, after the work has ended

Drain = Callable[[Callable[[], bool]], bool]


def status_of(code: object) -> int:
    """The exit status of a `SystemExit` with this code, which may be a sentence to print."""
    return code if isinstance(code, int) else int(code is not None)


class Stopping:
    """Ends this process's work once. Signal handlers may call `begin` and `hurry`.

    Args:
        drain: Ends the work; called once, with a function that says whether to stop waiting.
            Returns whether the process must end at once, with what its threads still run.
        longest_s: Seconds after which the process ends even if threads still run tasks; None to
            wait for them as long as they take.

    Attributes:
        is_urgent: Whether to wait for nothing.
        restarts: Whether this process runs its program anew in the end.
    """

    def __init__(self, drain: Drain, *, longest_s: float | None) -> None:
        self.is_urgent = False
        self.restarts = False
        self._drain = drain
        self._longest_s = longest_s
        self._status = EX_OK
        self._orders: SimpleQueue[None] = SimpleQueue()  # unlike a lock, safe in a signal handler
        self._drained = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="stopping", daemon=True)

    def start(self) -> None:
        """Listen for orders."""
        self._thread.start()

    def begin(self, status: int = EX_OK, *, restarts: bool = False) -> None:
        """Stop: finish what has begun, and give back the rest.

        Args:
            status: Exit status, where this has to end the process.
            restarts: Whether the program is run anew then; the last order counts.
        """
        self._status, self.restarts = status, restarts
        self._orders.put(None)

    def hurry(self) -> None:
        """Stop: give everything back and end the process. The second time it ends on the spot."""
        if self.is_urgent:
            os._exit(EX_FAILURE)
        self.is_urgent = True
        self.begin(EX_FAILURE)

    def wait(self, status: int = EX_OK) -> None:
        """Stop, unless that has been ordered, and wait until the work has ended.

        Args:
            status: Exit status, unless an order gave one.
        """
        if self._thread.ident is not None:
            self._status = self._status or status
            self._orders.put(None)
            self._drained.wait()

    def leave(self, status: int) -> NoReturn:
        """End the process now, or run its program anew in it: no thread can hold that up."""
        try:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            self.run_anew()
        finally:  # even if it can't write its log
            os._exit(status)

    def run_anew(self) -> None:
        """Run this process's program anew in its place, if that was ordered.

        The process id stays, so a supervisor sees nothing of it.
        """
        if not self.restarts:
            return
        try:
            close_open_fds([sys.__stdin__, sys.__stdout__, sys.__stderr__])
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # itself
        finally:  # it could not
            os._exit(EX_FAILURE)

    def _serve(self) -> None:
        self._orders.get()
        since = time.monotonic()
        try:
            must_end = self._drain(lambda: self.is_urgent)
        except Exception:  # a bug of ours; the leases run out
            logger.exception("Can't requeue the messages in flight")
            must_end = False
        if must_end or self.is_urgent:
            self.leave(self._status)
        self._drained.set()
        self._wait_for_end(since)
        self.leave(self._status)

    def _wait_for_end(self, since: float) -> None:
        """Until the process has to end, if it has not ended by itself before."""
        longest_s = math.inf if self._longest_s is None else self._longest_s
        end = max(since + longest_s, time.monotonic()) + REST_S
        while not self.is_urgent and time.monotonic() < end:
            time.sleep(POLL_S)
