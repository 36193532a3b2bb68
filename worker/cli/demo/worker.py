"""The demo's worker: `clip-worker start` with the demo model, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from worker.cli.demo.child_process import TetheredProcess
from worker.cli.demo.embedded_redis import EmbeddedRedis
from worker.cli.start import READY_SENTENCE
from worker.errors import ServiceError
from worker.settings import ENV_PREFIX

START_LIMIT_S = 120.0  # torch from a cold disk is slow
STOP_LIMIT_S = 5.0
LAST_LINES = 12
_POLL_S = 0.05
_MODEL_READY = " is ready on "  # in what worker.runtime.signals prints


class DemoWorker:
    """A running worker.

    Args:
        process: That it runs in.
    """

    def __init__(self, process: TetheredProcess) -> None:
        self._process = process

    def wait_until_ready(self) -> str:
        """Wait until it takes tasks.

        Returns:
            The line in which it tells its model, device and batch size.

        Raises:
            ServiceError: It ended, or took longer than `START_LIMIT_S`; with its last lines.
        """
        end = time.monotonic() + START_LIMIT_S
        while READY_SENTENCE not in (printed := self._process.printed):
            self.check()
            if time.monotonic() > end:
                raise self._failure(f"takes no tasks after {START_LIMIT_S:g} s")
            time.sleep(_POLL_S)
        lines = [line for line in printed.splitlines() if _MODEL_READY in line]
        return lines[0].removeprefix("clip-worker: ") if lines else "ready"

    def check(self) -> None:
        """See whether it still runs.

        Raises:
            ServiceError: It ended; with its last lines.
        """
        if (status := self._process.exit_status) is not None:
            raise self._failure(f"ended with status {status}")

    def _failure(self, what: str) -> ServiceError:
        lines = [line for line in self._process.printed.splitlines() if line.strip()]
        said = "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  nothing"
        return ServiceError(f"The demo's worker {what}. The last that it printed is:\n{said}")


@contextlib.contextmanager
def run_demo_worker(redis: EmbeddedRedis, folder: Path, images: Path) -> Iterator[DemoWorker]:
    """Start a worker and end it with the context.

    Args:
        redis: Where its tasks come from.
        folder: For its log, and for what torch leaves in the folder for temporary files.
        images: The one folder that it may read images from.
    """
    settings = {
        "REDIS_URL": redis.url,
        "REMOTE_CONTROL": str(redis.remote_control).lower(),
        "MODEL": "demo",
        "DEVICE": "auto",
        "FILE_ROOTS": str(images),
    }
    environment = os.environ | {ENV_PREFIX + name: value for name, value in settings.items()}
    environment["TMPDIR"] = str(folder)
    # -P: the folder that the demo is run in may have a `worker` of its own.
    command = [sys.executable, "-P", "-m", "worker.cli", "start"]
    process = TetheredProcess(command, environment, folder / "worker.log")
    try:
        process.start()
        yield DemoWorker(process)
    finally:
        process.stop(STOP_LIMIT_S)


def forget_settings() -> None:
    """Drop the settings of this process's environment: the demo has its own.

    Celery's count too: it takes `CELERY_BROKER_URL` before any URL that it is given.
    """
    for name in [name for name in os.environ if name.startswith((ENV_PREFIX, "CELERY_"))]:
        del os.environ[name]
