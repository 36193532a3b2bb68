"""A real worker process for the integration tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support.waiting import LIMIT_S, wait_until

STOP_LIMIT_S = 60.0
READY = "is ready on"
APPS = Path(__file__).parents[1] / "integration"


class WorkerProcess:
    """`celery -A worker worker` with the demo model, while it is entered.

    Args:
        redis: URL of broker and result backend.
        folder: For its log.
        options: More options of Celery's.
        app: Another Celery application: a module in tests/integration.
        command: Another command line.
        environment: More environment variables.
        stdout: File descriptor for what it prints there, in place of the log.
        settings: More `CLIP_WORKER_*` settings, without the prefix.
    """

    def __init__(
        self,
        redis: str,
        folder: Path,
        *options: str,
        name: str = "worker",
        app: str = "worker",
        command: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        stdout: int | None = None,
        **settings: str,
    ) -> None:
        self.redis = redis
        self._log = folder / f"{name}.log"
        self._log_begin = 0
        self._stdout = stdout
        self._command = command or (
            sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"{name}@%h",
            "--loglevel", "info", *options,
        )  # fmt: skip
        defaults = {
            "REDIS_URL": redis,
            "MODEL": "demo",
            "PRECISION": "float32",
            "FILE_ROOTS": str(folder),
        }
        given = {key.upper(): value for key, value in settings.items()}
        self._environment = clean_environment() | {
            f"CLIP_WORKER_{key}": value for key, value in (defaults | given).items()
        }
        if app != "worker":
            path = [str(APPS), str(APPS.parents[1]), os.environ.get("PYTHONPATH", "")]
            self._environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        self._environment |= environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        self.wait_for_log(READY)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the worker was not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.running.pid

    @property
    def log(self) -> str:
        """All that the process has printed, or what it has since `begin_log()`."""
        return self._log.read_bytes()[self._log_begin :].decode(errors="replace")

    def begin_log(self) -> None:
        """Leave out of `log` what was printed until now."""
        self._log_begin = self._log.stat().st_size

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log if self._stdout is None else self._stdout,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def wait_for_log(self, text: str, limit_s: float = LIMIT_S) -> None:
        def is_there() -> bool:
            ended = self.running.poll() is not None
            if text in self.log:
                return True
            assert not ended, f"the worker ended with {self.running.returncode}:\n{self.log}"
            return False

        wait_until(is_there, lambda: f"no {text!r} in the log:\n{self.log}", limit_s=limit_s)

    def wait_for_end(self, limit_s: float = STOP_LIMIT_S) -> int:
        """The exit status."""
        return self.running.wait(limit_s)

    def send_signal(self, number: int) -> None:
        self.running.send_signal(number)

    def kill(self) -> None:
        """End it at once, with SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it in order, with SIGTERM; the exit status."""
        self.send_signal(signal.SIGTERM)
        return self.wait_for_end()


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith("CLIP_WORKER_")}
