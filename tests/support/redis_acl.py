"""A real `redis-server` with the users of `deploy/redis/users.acl`, and what it has denied them."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from support.redis_server import find_executable

from worker.cli.demo.embedded_redis import IN_MEMORY
from worker.cli.demo.redis_server import HOST, start_on_free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = Path(__file__).parents[2] / "deploy/redis/users.acl"
WORKER, CLIENT, OPERATOR = (f"clip-worker-{name}" for name in ("worker", "client", "operator"))
ADMIN = "admin"
PASSWORD = "of-all-users"  # of a server that ends with its test
LEAST_VERSION = 7  # the first that knows selectors and rights to read or write only


@dataclass(frozen=True)
class AclServer:
    """The server.

    Attributes:
        port: That it listens on.
    """

    port: int

    def url(self, user: str) -> str:
        return f"redis://{user}:{PASSWORD}@{HOST}:{self.port}/0"

    def admin(self) -> redis.Redis:
        """A client that may do anything; it decodes replies."""
        return redis.Redis.from_url(self.url(ADMIN), decode_responses=True)

    def refusals(self) -> list[str]:
        """A sentence for each thing that was denied to a user since the server was started."""
        with self.admin() as admin:
            entries: Any = admin.acl_log(500)
        return sorted(
            f"{each['username']} was denied the {each['reason']} {each['object']!r}; if it needs "
            "that, allow it in deploy/redis/users.acl and say why in docs/security.md"
            for each in entries
        )

    def forget_refusals(self) -> None:
        """Let `refusals` begin anew."""
        with self.admin() as admin:
            admin.acl_log_reset()

    def allows(self, user: str, *command: str) -> bool:
        """Whether a user may run a command; it is not run."""
        with self.admin() as admin:
            reply: Any = admin.execute_command("ACL", "DRYRUN", user, *command)  # type: ignore[no-untyped-call]  # redis-py's
        return str(reply) == "OK"


@contextmanager
def acl_server(folder: Path) -> Iterator[AclServer]:
    """A server with these users, and an administrator, while it is entered.

    A test is skipped where the server is older than Redis 7.0.

    Args:
        folder: For the users with passwords.
    """
    executable = find_executable()
    assert executable is not None, "tests that are marked `integration` need a redis-server"
    if (version := _major_version(executable)) < LEAST_VERSION:
        pytest.skip(f"the users need Redis {LEAST_VERSION}.0, and {executable} is Redis {version}")
    default, *users = USERS.read_text().splitlines()
    lines = [default, *(f"{user} >{PASSWORD}" for user in users)]
    lines.append(f"user {ADMIN} on >{PASSWORD} ~* &* +@all")
    path = folder / "users.acl"
    path.write_text("\n".join(lines) + "\n")
    arguments = (*IN_MEMORY, "--aclfile", str(path), "--acllog-max-len", "500")
    process = start_on_free_port(executable, arguments, folder)
    try:
        yield AclServer(process.port)
    finally:
        process.kill()


def _major_version(executable: Path) -> int:
    shown = subprocess.run([executable, "--version"], check=True, capture_output=True, text=True)
    found = re.search(r"v=(\d+)", shown.stdout)
    assert found, shown.stdout
    return int(found[1])
