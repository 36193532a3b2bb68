"""What a worker process writes down of its own life, and what survives its kill.

One file a worker, however many processes it has and however often a process id is used; one line
an event, each written with a single `write`: what was written stays in the system's cache however
the process ends. Times are `time.monotonic()`, one clock for all processes of a machine.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

READY = "ready"  # the worker takes tasks
RUN = "run"  # a task's picture reached the model
END = "end"  # a task's future ended, well or badly; its result is not yet stored


@dataclass(frozen=True)
class Entry:
    """One line: what happened, to which task (-1 for none), and when, in seconds."""

    what: str
    number: int
    at_s: float


class Journal:
    """The writing side, in the worker process. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, what: str, number: int = -1) -> None:
        os.write(self._file, f"{what} {number} {time.monotonic():.6f}\n".encode())


class JournalReader:
    """The reading side of one worker's journal. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def read(self) -> list[Entry]:
        """All entries so far."""
        with self._lock:
            if self._path.exists():
                with self._path.open("rb") as file:
                    file.seek(self._offset)
                    whole, _, _ = file.read().rpartition(b"\n")
                self._offset += len(whole) + 1 if whole else 0
                self._entries += map(_entry, whole.splitlines())
            return list(self._entries)


def _entry(line: bytes) -> Entry:
    what, number, at_s = line.decode().split(" ")
    return Entry(what, int(number), float(at_s))
