"""What a supervisor waits for: signals, workers that become ready, and time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Sequence
from typing import Any, Self

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
SIGNALS = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD)


class Events:
    """Context manager that handles the signals of this process; for its main thread.

    A signal that is ignored already, such as SIGHUP under `nohup`, stays ignored.
    """

    def __init__(self) -> None:
        self._ours, self._theirs = os.pipe()
        self._former: dict[int, Any] = {}
        self._former_fd = -1

    def __enter__(self) -> Self:
        os.set_blocking(self._ours, False)
        os.set_blocking(self._theirs, False)
        # Python writes the number of each signal into the pipe.
        self._former_fd = signal.set_wakeup_fd(self._theirs, warn_on_full_buffer=False)
        for number in SIGNALS:
            if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_fd)
        os.close(self._ours)
        os.close(self._theirs)

    def wait(
        self, descriptors: Sequence[int], timeout_s: float | None
    ) -> tuple[list[int], list[int]]:
        """Wait until something happens.

        Args:
            descriptors: What to wait for besides signals.
            timeout_s: Longest wait; None for no limit.

        Returns:
            The signals that came, in their order but for SIGCHLD; and the readable descriptors.
        """
        readable, _, _ = select.select([self._ours, *descriptors], [], [], timeout_s)
        numbers = self._numbers() if self._ours in readable else []
        return numbers, [each for each in readable if each != self._ours]

    def _numbers(self) -> list[int]:
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self._ours, 4096) if number != signal.SIGCHLD]
        return []
