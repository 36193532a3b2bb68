"""Ctrl-C, SIGTERM and a closed terminal, so that what was started is always ended in order.

A signal may come between the start of something and the note that it has to be ended, or in the
middle of ending it. So signals raise only inside `raising`, there not inside `held`, and only once.
What is raised may be dropped, by Python if that falls into a finalizer (`__del__`), or by C code
that clears the errors of what it calls. So it is raised again until `raising` has been left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

AGAIN_S = 0.2  # time to leave in; nothing that is left takes so long
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):  # it is no error either
    """A signal asks the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_status(self) -> int:
        """What a shell reports for a program that this signal ended."""
        return 128 + self.number


class Interrupts:
    """Context manager that has the signals; outside `raising` they are only noted.

    The main thread enters it, as only that one may have signal handlers::

        with Interrupts() as interrupts, ExitStack() as started, interrupts.raising():
            with interrupts.held():
                server = started.enter_context(run_server())
            ...
    """

    def __init__(self) -> None:
        self._inside = False  # of `raising`
        self._holds = False  # of `held`
        self._raises = False
        self._noted: int | None = None
        self._raised: int | None = None
        self._former_hook = sys.unraisablehook
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._former_hook, sys.unraisablehook = sys.unraisablehook, self._dropped
        self._former = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._former_hook
        if error is None:
            self._raise_noted()

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Raise `Interrupted` when a signal comes while this is entered."""
        self._inside = self._raises = True
        try:
            self._raise_noted()
            yield
            if self._raised is not None:  # and dropped
                raise Interrupted(self._raised)
        finally:
            self._inside = self._raises = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside `raising`: put signals off until the end of the block."""
        self._holds, self._raises = True, False
        yield  # if the block fails, everything is being ended and signals stay put off
        self._holds, self._raises = False, True
        self._raise_noted()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._noted = self._noted or number
        if self._raises:
            self._raise_noted()

    def _dropped(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Python has dropped an exception and would print it; ours comes again."""
        if not isinstance(unraisable.exc_value, Interrupted):
            self._former_hook(unraisable)

    def _raise_noted(self) -> None:
        if self._noted is not None:
            number, self._noted, self._raises = self._noted, None, False
            self._raised = number
            again = threading.Timer(AGAIN_S, self._raise_again, (number,))
            again.daemon = True
            again.start()
            raise Interrupted(number)

    def _raise_again(self, number: int) -> None:
        """Unless it got through, on a thread of its own."""
        if self._holds:
            self._noted = number  # for the end of the block
        elif self._inside:
            self._raises = True
            os.kill(os.getpid(), number)
