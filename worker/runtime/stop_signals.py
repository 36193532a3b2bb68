"""What a worker does on SIGTERM, SIGINT, SIGQUIT and SIGHUP (docs/reliability.md, "Stopping").

Celery's own handlers begin a warm shutdown and, on a second Ctrl-C or on SIGQUIT, a cold one. The
cold one needs a pool that can end its tasks, which threads can't be; and on SIGHUP Celery runs
its program anew only if the process gets as far as the interpreter's own end.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from billiard.common import REMAP_SIGTERM
from celery.platforms import EX_FAILURE, EX_OK
from celery.worker import state

if TYPE_CHECKING:
    from worker.runtime.stopping import Stopping

logger = logging.getLogger(__name__)

HUNG_UP = 128 + 1  # exit status, as a shell shows a process that SIGHUP has ended
STATUS = {signal.SIGTERM: EX_OK, signal.SIGINT: EX_FAILURE}  # Celery's own


class StopSignals:
    """Handlers that take the places of Celery's; to be made before Celery installs its own.

    Args:
        stopping: Ends this process's work.
        wake: Makes Celery's event loop notice that it is to stop; signal handlers may call it.
        supervised: Whether `clip-worker start` supervises this worker. A second SIGTERM does
            nothing then: systemd sends one to each process of a service, and the supervisor passes
            its own on. To hurry, the supervisor sends SIGQUIT.
    """

    def __init__(
        self, stopping: Stopping, wake: Callable[[], None], *, supervised: bool = False
    ) -> None:
        self._stopping = stopping
        self._wake = wake
        self._supervised = supervised
        self._ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as under nohup
        self._celerys: dict[int, Any] = {}
        self._is_ordered = False  # by SIGTERM or SIGINT
        self._has_terminal = sys.__stdout__ is not None and sys.__stdout__.isatty()

    def install(self) -> None:
        """Take over, once Celery's are in place; signals are the main thread's only."""
        if self._celerys or threading.current_thread() is not threading.main_thread():
            return
        self._celerys = {number: signal.getsignal(number) for number in STATUS}
        signal.signal(signal.SIGINT, self._stop)
        cold = REMAP_SIGTERM == "SIGQUIT"  # Celery's own variable
        signal.signal(signal.SIGTERM, self._end if cold else self._stop)
        signal.signal(signal.SIGQUIT, self._end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if self._ignores_hangup else self._hang_up)

    def _stop(self, number: int, frame: object) -> None:
        """The first time in order, the second time at once."""
        if self._is_ordered:
            if not (self._supervised and number == signal.SIGTERM):
                self._end(number, frame)
            return
        self._is_ordered = True
        with contextlib.suppress(OSError):  # it prints, and its terminal may be gone
            self._celerys[number](number, frame)
        signal.signal(signal.SIGINT, self._stop)  # Celery has put another handler in its place
        self._order(STATUS[signal.Signals(number)])

    def _end(self, _number: int, _frame: object) -> None:
        self._stopping.hurry()

    def _hang_up(self, _number: int, _frame: object) -> None:
        """Run the program anew, as Celery does; at a terminal, which is gone then, stop."""
        if self._is_ordered:
            return
        if self._has_terminal:
            self._is_ordered = True
            self._order(HUNG_UP)
        else:
            self._order(EX_OK, restarts=True)

    def _order(self, status: int, *, restarts: bool = False) -> None:
        state.should_stop = status
        self._stopping.begin(status, restarts=restarts)
        self._wake()
