"""Handles Ctrl-C, SIGTERM and a closed terminal, so that child processes are always stopped.

A signal may arrive after a process was started but before its cleanup is registered, or during the
cleanup. So signals raise an exception only inside `raising`, not inside `held`, and only once. The
exception may get lost: Python ignores exceptions in finalizers (`__del__`), and some C code clears
them. So it is raised again until `raising` has been left.
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

AGAIN_S = 0.2  # longer than it takes to leave `raising`
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):  # like this, not an error
    """A signal asked the program to exit."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_status(self) -> int:
        """The exit status that a shell reports for a program ended by this signal."""
        return 128 + self.number


class Interrupts:
    """Context manager that handles the signals; outside `raising` they are only recorded.

    Enter it in the main thread, the only one that may set signal handlers::

        with Interrupts() as interrupts, ExitStack() as started, interrupts.raising():
            with interrupts.held():
                server = started.enter_context(run_server())
            ...
    """

    def __init__(self) -> None:
        self._inside = False  # `raising`
        self._holds = False  # inside `held`
        self._raises = False
        self._pending: int | None = None
        self._raised: int | None = None
        self._former_hook = sys.unraisablehook
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._former_hook, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
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
            self._raise_pending()

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Raise `Interrupted` when a signal arrives inside the block."""
        self._inside = self._raises = True
        try:
            self._raise_pending()
            yield
            if self._raised is not None:  # but the exception got lost
                raise Interrupted(self._raised)
        finally:
            self._inside = self._raises = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside `raising`: delay signals until the end of the block."""
        self._holds, self._raises = True, False
        yield  # if the block fails, the cleanup begins, and signals stay delayed
        self._holds, self._raises = False, True
        self._raise_pending()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._pending = self._pending or number
        if self._raises:
            self._raise_pending()

    def _on_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Print exceptions that Python ignores, except ours, which is raised again."""
        if not isinstance(unraisable.exc_value, Interrupted):
            self._former_hook(unraisable)

    def _raise_pending(self) -> None:
        if self._pending is not None:
            number, self._pending, self._raises = self._pending, None, False
            self._raised = number
            again = threading.Timer(AGAIN_S, self._raise_again, (number,))
            again.daemon = True
            again.start()
            raise Interrupted(number)

    def _raise_again(self, number: int) -> None:
        """Called by the timer's thread; does nothing if `raising` has been left."""
        if self._holds:
            self._pending = number  # raised at the end of the block
        elif self._inside:
            self._raises = True
            os.kill(os.getpid(), number)
