"""A `clip-worker watch` process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from support.waiting import LIMIT_S, wait_until
from support.worker_process import STOP_LIMIT_S, clean_environment


class WatchProcess:
    """Tags what arrives in a place into JSON lines, from `start` to `stop` or `kill`.

    Args:
        redis_url: Of the workers.
        place: What is watched.
        folder: For results, journal and log.
        options: More options.
        environment: More environment variables.
    """

    def __init__(
        self,
        redis_url: str,
        place: str,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.results = folder / "results.jsonl"
        self.failures = folder / "results.jsonl.journal.failures.jsonl"
        self._log = folder / "watch.log"
        self._command = (
            *(sys.executable, "-m", "worker.cli", "watch", place, "--to", str(self.results)),
            *("--redis-url", redis_url, "--labels", "red,blue", *options),
        )
        self._environment = clean_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._environment |= environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment
            )

    def kill(self) -> None:
        """End it at once, with SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it in order; the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(STOP_LIMIT_S)

    def wait_for_end(self) -> int:
        assert self._process is not None
        return self._process.wait(LIMIT_S)

    def rows(self) -> list[dict[str, Any]]:
        """The complete lines of the results."""
        if not self.results.exists():
            return []
        lines = self.results.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def count(self) -> int:
        """How many rows there are, without reading them."""
        return self.results.read_bytes().count(b"\n") if self.results.exists() else 0

    def images(self) -> Counter[str]:
        """How often each image has a row."""
        return Counter(row["image"] for row in self.rows())

    def wait_for(self, count: int, limit_s: float = LIMIT_S) -> None:
        """Wait until there are so many rows."""

        def are_there() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            return self.count() >= count

        wait_until(are_there, lambda: f"{self.count()} rows\n{self.log}", limit_s=limit_s)
