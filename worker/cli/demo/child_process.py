"""A background program that ends with its owner (`worker.cli.demo.tether`), and its output."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from worker.cli.demo.tether import kill_tethered, start_tethered


class TetheredProcess:
    """A program that runs in the background and writes what it prints to a file.

    Args:
        command: Program and arguments.
        environment: All of its environment variables.
        log_path: Takes stdout and stderr.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log_path: Path
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self._log_path.read_text("utf-8", errors="replace")

    @property
    def exit_status(self) -> int | None:
        """None while it runs, and before it was started; negative if a signal ended it."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it; it may have failed a moment later."""
        self._log = self._log_path.open("wb")
        self._process = start_tethered(self._command, self._log, environment=self._environment)

    def stop(self, limit_s: float) -> None:
        """End it with SIGTERM, and whatever is left of it after `limit_s` with SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
        kill_tethered(process)
        if self._log:
            self._log.close()
