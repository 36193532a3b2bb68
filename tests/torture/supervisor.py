"""Keeps so many workers running, as a service manager would: when one ends, the next is started."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from torture.journal import READY, JournalReader
from torture.spawner import Command, Ended, Spawner

PAUSE_S = 0.02
START_LIMIT_S = 60.0
END_LIMIT_S = 60.0


@dataclass
class Life:
    """One worker process, from its start to its end.

    Attributes:
        slot: Which of the workers it was.
        started_s: When it was started; this and the next, `time.monotonic()`.
        ended_s: When it ended, or None.
        status: Exit status, or minus the signal that ended it.
        cause: Why the harness ended it: `kill`, `term`, `help`; empty if it didn't.
    """

    slot: int
    pid: int
    started_s: float
    journal: JournalReader
    cause: str = ""
    ended_s: float | None = None
    status: int | None = None
    disturbed_until_s: float = 0.0

    @property
    def running(self) -> bool:
        return self.ended_s is None

    @property
    def ready_s(self) -> float | None:
        """When it began to take tasks."""
        return next((entry.at_s for entry in self.journal.read() if entry.what == READY), None)

    def send(self, number: int) -> None:
        """Send a signal, unless the process has just ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill_all(self) -> None:
        """Kill the process and those that it started, as the end of a container does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Way(Protocol):
    """A worker's way to Redis: a proxy, or the server itself."""

    @property
    def url(self) -> str:
        """The Redis URL that the worker gets."""


class Supervisor:
    """Starts a worker in each slot while it is entered.

    Args:
        spawner: Makes the processes.
        ways: One a slot.
        command: From a slot, its Redis URL and a journal to what is run there.
        journals: Folder that the workers write their journals in.
        least_life_s: One that ends sooner is not started again before.
    """

    def __init__(
        self,
        spawner: Spawner,
        ways: Sequence[Way],
        command: Callable[[int, str, Path], Command],
        journals: Path,
        *,
        least_life_s: float = 1.0,
    ) -> None:
        self.lives: list[Life] = []
        self._spawner = spawner
        self._ways = ways
        self._least_life_s = least_life_s
        self._command = command
        self._journals = journals
        self._lock = threading.RLock()
        self._restarting = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        for slot in range(len(self._ways)):
            self._start(slot)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_end()
        for life in self.current:
            life.kill_all()
        self.wait_for_ends()
        self._stopping.set()
        self._thread.join()

    @property
    def current(self) -> list[Life]:
        """The lives that go on."""
        with self._lock:
            return [life for life in self.lives if life.running]

    def end(self, life: Life, number: int, cause: str) -> bool:
        """Send a signal that ends it; false if it had ended already."""
        with self._lock:
            if not life.running:
                return False
            life.cause = life.cause or cause
            life.send(number)
            return True

    def let_end(self) -> None:
        """Start none again from now on."""
        with self._lock:
            self._restarting = False

    def wait_until_ready(self, limit_s: float = START_LIMIT_S) -> bool:
        """Whether a worker in each slot took tasks within the limit."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            ready = {life.slot for life in self.current if life.ready_s}
            if len(ready) == len(self._ways):
                return True
            time.sleep(PAUSE_S)
        return False

    def wait_for_ends(self, limit_s: float = END_LIMIT_S) -> list[Life]:
        """The lives that still go on after the limit."""
        end = time.monotonic() + limit_s
        while (current := self.current) and time.monotonic() < end:
            time.sleep(PAUSE_S)
        return current

    def _start(self, slot: int) -> None:
        with self._lock:
            started_s = time.monotonic()
            # Not by the process id, which the system uses again.
            journal = self._journals / f"{len(self.lives)}.journal"
            pid = self._spawner.start(self._command(slot, self._ways[slot].url, journal))
            self.lives.append(Life(slot, pid, started_s, JournalReader(journal)))

    def _serve(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Empty):
                self._bury(self._spawner.ended.get(timeout=0.1))

    def _bury(self, ended: Ended) -> None:
        with self._lock:
            [life] = [life for life in self.lives if life.pid == ended.pid and life.running]
            life.ended_s, life.status = ended.at_s, ended.status
            again = self._restarting
        if again:
            time.sleep(max(0.0, self._least_life_s - (ended.at_s - life.started_s)))
        with self._lock:
            if self._restarting:  # asked in the same step as it is done: none starts after let_end
                self._start(life.slot)
