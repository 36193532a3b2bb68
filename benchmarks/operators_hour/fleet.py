"""The workers and the Redis of the hour, as processes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from support.waiting import wait_until
from support.worker_process import WorkerProcess

from worker.cli.demo.redis_server import PortTakenError, RedisProcess, find_free_port
from worker.cli.start import READY_SENTENCE

LIMIT_S = 400.0  # on a busy machine
START = (sys.executable, "-m", "worker.cli", "start")


class Member:
    """One worker, `clip-worker start`, with a metrics port.

    Args:
        url: URL of Redis.
        folder: For its log; images lie below it.
        number: Of the workers of this hour.
        model: Name or path.

    Attributes:
        name: As it reports itself.
        port: Of its metrics.
    """

    def __init__(self, url: str, folder: Path, number: int, model: str) -> None:
        self.port = find_free_port()
        self._shown = 0
        self._process = WorkerProcess(
            url,
            folder,
            name=f"worker-{number}",
            command=START,
            model=model,
            metrics_port=str(self.port),
            metrics_address="127.0.0.1",
            preparation_processes="1",
        )

    @property
    def name(self) -> str:
        """Its name, without that of the host."""
        return f"clip-{self._process.pid}"

    def start(self) -> None:
        """Start its process."""
        self._process.start()

    def wait_until_ready(self) -> None:
        """Wait until it takes tasks."""
        self._process.wait_for_log(READY_SENTENCE, LIMIT_S)

    def stop(self) -> int:
        """End it in order; the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait_for_end(LIMIT_S)

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()

    def news(self) -> list[str]:
        """What it has logged since this was asked last."""
        lines = self._process.log.splitlines()
        new, self._shown = lines[self._shown :], len(lines)
        return [line for line in new if line.strip()]


class PersistentRedis:
    """A Redis with a password that keeps its data when it is stopped.

    Args:
        executable: Path of `redis-server`.
        folder: For its data.
        password: Of its default user.
    """

    def __init__(self, executable: Path, folder: Path, password: str) -> None:
        keeping = ("--appendonly", "yes", "--save", "", "--requirepass", password)
        self._process = RedisProcess(executable, find_free_port(), keeping, folder)

    def url(self, password: str) -> str:
        """With a password."""
        return f"redis://:{password}@127.0.0.1:{self._process.port}/0"

    def start(self) -> None:
        """Start it, perhaps again, on its port."""
        wait_until(self._is_started, lambda: "the port of Redis stays taken")

    def stop(self) -> None:
        """End it in order."""
        self._process.terminate()

    def _is_started(self) -> bool:
        try:
            self._process.start()
        except PortTakenError:
            return False
        return True
