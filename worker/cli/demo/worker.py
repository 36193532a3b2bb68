"""The demo's worker: `clip-worker start` with the demo model, as a child process."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from clip_worker.errors import ServiceError
from worker.cli.child_process import ChildProcess
from worker.cli.demo.embedded_redis import EmbeddedRedis
from worker.cli.start import READY_SENTENCE
from worker.variables import ENV_PREFIX

START_LIMIT_S = 120.0  # torch from a cold disk is slow
STOP_LIMIT_S = 5.0
LAST_LINES = 12
_POLL_S = 0.05
_MODEL_READY = " is ready on "  # in what worker.runtime.signals prints


class DemoWorker:
    """A running worker.

    Args:
        process: Its process.
    """

    def __init__(self, process: ChildProcess) -> None:
        self._process = process

    def wait_until_ready(self) -> str:
        """Wait until it takes tasks.

        Returns:
            The line that it prints about its model, device and batch size.

        Raises:
            ServiceError: It exited, or took longer than `START_LIMIT_S`; with its last output.
        """
        end = time.monotonic() + START_LIMIT_S
        while READY_SENTENCE not in (output := self._process.output):
            self.check()
            if time.monotonic() > end:
                raise self._failure(f"takes no tasks after {START_LIMIT_S:g} s")
            time.sleep(_POLL_S)
        lines = [line for line in output.splitlines() if _MODEL_READY in line]
        return lines[0].removeprefix("clip-worker: ") if lines else "ready"

    def check(self) -> None:
        """Check that it is still running.

        Raises:
            ServiceError: It exited; with its last output.
        """
        if (status := self._process.exit_status) is not None:
            raise self._failure(f"exited with status {status}")

    def _failure(self, what: str) -> ServiceError:
        lines = [line for line in self._process.output.splitlines() if line.strip()]
        last = "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  (none)"
        return ServiceError(f"The demo's worker {what}. Its last output was:\n{last}")


@contextlib.contextmanager
def run_demo_worker(
    redis: EmbeddedRedis, folder: Path, roots: Sequence[Path]
) -> Iterator[DemoWorker]:
    """Run a worker until the context ends.

    Args:
        redis: Redis that it takes tasks from.
        folder: Folder for its log and temporary files, which include some of torch's.
        roots: The only folders that it may read images from.
    """
    settings = {
        "REDIS_URL": redis.url,
        "REMOTE_CONTROL": str(redis.remote_control).lower(),
        "MODEL": "demo",
        "DEVICE": "auto",
        "WORKERS": "1",
        "FILE_ROOTS": os.pathsep.join(map(str, roots)),
    }
    environment = os.environ | {ENV_PREFIX + name: value for name, value in settings.items()}
    environment["TMPDIR"] = str(folder)
    # -P: the current folder may contain another package `worker`.
    command = [sys.executable, "-P", "-m", "worker.cli", "start"]
    process = ChildProcess(command, environment, folder / "worker.log")
    try:
        process.start()
        yield DemoWorker(process)
    finally:
        process.stop(STOP_LIMIT_S)


def clear_settings() -> None:
    """Remove settings from this process's environment, since the demo has its own.

    Celery's too: `CELERY_BROKER_URL` takes precedence over the URL that an application passes.
    """
    for name in [name for name in os.environ if name.startswith((ENV_PREFIX, "CELERY_"))]:
        del os.environ[name]
