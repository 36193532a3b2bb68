"""A contender's process: started, watched, ended; it can't outlive the benchmark."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from benchmarks.bench.names import QUEUE
from benchmarks.bench.server import BenchError
from worker.cli.child_process import kill_child, start_child

ROOT = Path(__file__).resolve().parents[2]
QUIET = ("--loglevel", "warning", "--without-gossip", "--without-mingle", "--without-heartbeat")


class Program:
    """A Python process and its children, while it is entered.

    Args:
        name: For errors.
        arguments: After `python`.
        environment: More variables.
        directory: Its working directory, from which it imports first.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        directory: Path = ROOT,
    ) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = clean_environment() | dict(environment or {})
        self._directory = directory

    def __enter__(self) -> Self:
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._process: subprocess.Popen[bytes] = start_child(
            [sys.executable, "-W", "ignore", *self._arguments],
            self._log,
            environment=self._environment,
            directory=self._directory,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        kill_child(self._process)
        self._log.close()

    def check(self) -> None:
        """Raise if the process has ended.

        Raises:
            BenchError: With the end of what it printed.
        """
        if self._process.poll() is not None:
            raise BenchError(f"{self.name} ended with {self._process.returncode}: {self.log()}")

    def log(self) -> str:
        """The end of what it printed."""
        printed = os.pread(self._log.fileno(), 1_000_000, 0).decode(errors="replace")
        return printed.strip()[-1_500:]

    def suspend(self) -> None:
        """Stop its processes until `resume`, so that they take no processor time."""
        for process in self._family():
            process.suspend()

    def resume(self) -> None:
        """Let suspended processes go on."""
        for process in self._family():
            process.resume()

    @property
    def pid(self) -> int:
        """Of the process itself."""
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """Processor time of the process and its living children, in seconds."""
        times = [process.cpu_times() for process in self._family()]
        return float(sum(one.user + one.system for one in times))

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process and its children; shared pages count in each."""
        return sum(int(process.memory_info().rss) for process in self._family())

    def _family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            # Without the watcher, a shell (worker.cli.child_process).
            return [parent, *(c for c in parent.children(recursive=True) if c.name() != "sh")]
        raise BenchError(f"{self.name} has ended: {self.log()}")


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of ours; model hubs are not asked."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CLIP_WORKER_")}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return kept | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "true"}


def celery_arguments(module: str, url: str, *options: str) -> list[str]:
    """The command line of a Celery worker for one of `benchmarks.bench.contenders`."""
    app = f"benchmarks.bench.contenders.{module}:app"
    return [
        *("-m", "celery", "-A", app, "-b", url, "--result-backend", url),
        *("worker", "-Q", QUEUE, *options, *QUIET),
    ]
