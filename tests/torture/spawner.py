"""Two ways to a worker process: forked from a zygote, or a fresh interpreter.

Both report ends on a queue, so that whoever supervises need not be the parent.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

TESTS = Path(__file__).resolve().parent.parent
START_LIMIT_S = 120.0


@dataclass(frozen=True)
class Command:
    """A module whose `main(arguments)` is run in a process of its own.

    Attributes:
        log: File that takes both outputs.
        environment: All of the process's variables.
    """

    module: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    log: Path


@dataclass(frozen=True)
class Ended:
    """A process's end; the status is minus the signal where one ended it."""

    pid: int
    status: int
    at_s: float


class Spawner(Protocol):
    """Starts processes and tells of their ends."""

    ended: queue.SimpleQueue[Ended]

    def start(self, command: Command) -> int:
        """The new process's id."""


class ZygoteSpawner:
    """Forks from a zygote that has imported `modules`, while it is entered."""

    def __init__(self, modules: Sequence[str], log: Path) -> None:
        self.ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self.import_cpu_s = 0.0
        self._modules = modules
        self._log = log
        self._started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "torture.zygote", *self._modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Threads of numeric libraries would not survive the fork.
                env=python_environment() | {"OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
        ready = self._read()
        if ready is None:
            raise RuntimeError(f"the zygote ended:\n{self._log.read_text()}")
        self.import_cpu_s = ready["cpu_s"]
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(START_LIMIT_S)
        if self._process.stdout:
            self._process.stdout.close()

    def start(self, command: Command) -> int:
        line = {
            "module": command.module,
            "arguments": command.arguments,
            "environment": command.environment,
            "log": str(command.log),
        }
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
            return self._started.get(timeout=START_LIMIT_S)

    def _read(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line else None

    def _listen(self) -> None:
        while report := self._read():
            if report["event"] == "started":
                self._started.put(report["pid"])
            else:
                self.ended.put(Ended(report["pid"], report["status"], time.monotonic()))


class FreshSpawner:
    """Starts `python -m module` each time, as a service manager does, while it is entered."""

    def __init__(self) -> None:
        self.ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        for process in self._processes.values():
            process.wait()

    def start(self, command: Command) -> int:
        with command.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", command.module, *command.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=command.environment,
                start_new_session=True,
            )
        self._processes[process.pid] = process
        threading.Thread(target=self._wait, args=[process], daemon=True).start()
        return process.pid

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        self.ended.put(Ended(process.pid, status, time.monotonic()))


def python_environment() -> dict[str, str]:
    """This process's environment, without settings of ours and with the harness on the path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CLIP_WORKER_")}
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": path}
