"""A `redis-server` process on the loopback interface that ends with its parent.

See `worker.cli.child_process`. Ctrl-C in the terminal does not reach it, since the parent may
still need Redis to finish what is in flight.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from typing import IO, TYPE_CHECKING

from clip_worker.errors import QueueUnavailableError
from worker.cli.child_process import kill_child, start_child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOST = "127.0.0.1"
START_LIMIT_S = 10.0
PORT_ATTEMPTS = 5

# In the server's own log: another process may be listening on the port and answer there.
_READY = b"eady to accept connections"
_PORT_TAKEN = b"Address already in use"
_LOG_BYTES = 65_536
_POLL_S = 0.005


class PortTakenError(QueueUnavailableError):
    """Another process is listening on the port; try another one."""


class RedisProcess:
    """A `redis-server` on a port of 127.0.0.1, in protected mode; `start()` runs it.

    Args:
        executable: Path of the `redis-server` program.
        port: TCP port to listen on.
        arguments: Further arguments, such as `["--appendonly", "yes"]`.
        directory: Its working directory, which also gets its log, `redis.log`; by default the
            system's directory for temporary files, and an unnamed log.
    """

    def __init__(
        self,
        executable: Path,
        port: int,
        arguments: Sequence[str] = (),
        directory: Path | None = None,
    ) -> None:
        self.executable = executable
        self.port = port
        self._arguments = tuple(arguments)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL, database 0."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id; None unless it was started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server and wait until it accepts connections.

        Raises:
            PortTakenError: Another process is listening on the port.
            QueueUnavailableError: The server exited, or took longer than `START_LIMIT_S`.
        """
        self._log = self._open_log()
        directory = self._directory or tempfile.gettempdir()
        self._process = start_child(self._command(), self._log, directory=directory)
        try:
            self._wait_until_ready(self._process, self._log)
        except BaseException:
            self.kill()
            raise

    def terminate(self, limit_s: float = 5.0) -> None:
        """Shut the server down with SIGTERM, so that it saves its data; kill it after `limit_s`."""
        if self._process:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(limit_s)
        self.kill()

    def kill(self) -> None:
        """Kill the server and its watcher; does nothing if it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        kill_child(process)
        if self._log:
            self._log.close()

    def _open_log(self) -> IO[bytes]:
        if self._directory is None:
            return tempfile.TemporaryFile()
        return (self._directory / "redis.log").open("w+b")

    def _command(self) -> list[str]:
        return [
            str(self.executable),
            *("--port", str(self.port), "--bind", HOST, "--protected-mode", "yes"),
            *self._arguments,
        ]

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            ended = process.poll() is not None
            # pread does not move the file position, which is shared with the server.
            written = os.pread(log.fileno(), _LOG_BYTES, 0)
            if ended and _PORT_TAKEN in written:
                raise PortTakenError(f"Port {self.port} of {HOST} is used by another process.")
            if ended:
                raise QueueUnavailableError(
                    f"'{self.executable}' exited with: {_last_line(written)}."
                )
            if _READY in written:
                return
            if time.monotonic() > deadline:
                raise QueueUnavailableError(
                    f"'{self.executable}' accepts no connections after {START_LIMIT_S:g} s; its "
                    f"last line of output is: {_last_line(written)}."
                )
            time.sleep(_POLL_S)


def start_on_free_port(
    executable: Path, arguments: Sequence[str] = (), directory: Path | None = None
) -> RedisProcess:
    """Start a `RedisProcess` on a free port.

    If another process takes the port before the server does, another port is tried.

    Raises:
        QueueUnavailableError: The server does not start, or `PORT_ATTEMPTS` ports were taken.
    """
    attempt = 1
    while True:
        server = RedisProcess(executable, find_free_port(), arguments, directory)
        try:
            server.start()
        except PortTakenError:
            if attempt == PORT_ATTEMPTS:
                raise
            attempt += 1
        else:
            return server


def find_free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(log: bytes) -> str:
    lines = log.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "(no output)"
