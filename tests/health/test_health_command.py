"""`clip-worker health`, against workers' ports and against whatever else may listen there."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support.heavy_modules import HEAVY
from support.ports import free_port

from worker.cli.entry import run
from worker.health.http_server import Answer, HttpServer

READY = '{"state": "ready", "sentence": "The worker takes tasks.", "workers": %d}'
STUCK = '{"state": "stuck", "sentence": "The poller has stood still.", "workers": %d}'
STARTING = '{"state": "starting", "sentence": "The worker starts.", "workers": %d}'


@contextmanager
def workers(*replies: tuple[int, int, str]) -> Iterator[int]:
    """Neighbouring ports; each with the status of /healthz, that of /readyz, and the body."""
    first = free_port(len(replies))
    with ExitStack() as stack:
        for i, (live, ready, body) in enumerate(replies):
            text = body.replace("%d", str(len(replies))).encode()
            routes: dict[str, Callable[[], Answer]] = {
                "/healthz": lambda live=live, text=text: Answer(live, text),
                "/readyz": lambda ready=ready, text=text: Answer(ready, text),
            }
            server = HttpServer("127.0.0.1", first + i, routes, {})
            server.start()
            stack.callback(server.stop)
        yield first


@contextmanager
def listener(behave: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port with another server, which does this with each connection."""

    def serve() -> None:
        with listening:
            connection, _ = listening.accept()
            with connection:
                behave(connection)

    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listening.getsockname()[1])
    thread.join(30.0)


def health(*arguments: object) -> int:
    return run(["health", *map(str, arguments)])


def test_a_ready_worker_is_status_0_and_its_sentence(capsys):
    with workers((200, 200, READY)) as port:
        assert health("--port", port) == 0
        assert health("--url", f"http://127.0.0.1:{port}/") == 0

    assert capsys.readouterr().out == "The worker takes tasks.\n" * 2


def test_a_starting_worker_is_live_but_not_ready(capsys):
    with workers((200, 503, STARTING)) as port:
        assert health("--port", port) == 1
        assert health("--port", port, "--live") == 0

    captured = capsys.readouterr()
    assert captured.err == "clip-worker: The worker starts.\n"
    assert captured.out == "The worker starts.\n"


def test_of_several_workers_all_are_asked_and_the_one_that_is_not_well_is_named(capsys):
    with workers((200, 200, READY), (200, 200, READY)) as port:
        assert health("--port", port) == 0
    with workers((200, 200, READY), (503, 503, STUCK), (200, 200, READY)) as port:
        assert health("--port", port, "--live") == 1
        assert health("--url", f"http://127.0.0.1:{port}") == 0  # that one alone

    captured = capsys.readouterr()
    assert captured.out.startswith("All 2 workers: The worker takes tasks.\n")
    assert captured.err == "clip-worker: Worker 2 of 3: The poller has stood still.\n"


def test_while_the_first_starts_the_others_are_not_expected_yet(capsys):
    with workers((200, 503, STARTING.replace("%d", "4"))) as port:
        assert health("--port", port, "--live") == 0

    assert capsys.readouterr().out == "The worker starts.\n"


def test_the_port_and_address_of_the_settings_are_asked(monkeypatch, capsys):
    with workers((200, 200, READY)) as port:
        monkeypatch.setenv("CLIP_WORKER_METRICS_PORT", str(port))
        assert health() == 0
        monkeypatch.setenv("CLIP_WORKER_METRICS_ADDRESS", "127.0.0.1")
        assert health() == 0

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "CLIP_WORKER_METRICS_PORT is not set, so no worker can be asked; "),
        ("tcp://10.0.0.1:9108", "CLIP_WORKER_METRICS_PORT is not set, so no worker can be asked; "),
        ("http", "CLIP_WORKER_METRICS_PORT is 'http'; give a number from 1 to 65535."),
        ("70000", "CLIP_WORKER_METRICS_PORT is '70000'; give a number from 1 to 65535."),
    ],
)
def test_without_a_port_the_remedy_is_said(monkeypatch, capsys, value, sentence):
    monkeypatch.setenv("CLIP_WORKER_METRICS_PORT", value)

    assert health() == 1

    assert capsys.readouterr().err.startswith(f"clip-worker: {sentence}")


@pytest.mark.parametrize("url", ["https://h:1", "http://h", "http://h:x", "h:1", "http://h:1/x"])
def test_another_url_is_refused(capsys, url):
    assert health("--url", url) == 1

    assert "is not a worker's URL; give one such as http://" in capsys.readouterr().err


def test_a_port_without_a_server_is_one_sentence(capsys):
    port = free_port()

    assert health("--port", port) == 1

    assert capsys.readouterr().err == (
        f"clip-worker: Nothing answers at http://127.0.0.1:{port} (Connection refused): no worker "
        "runs there, or its CLIP_WORKER_METRICS_PORT is another one.\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"-ERR unknown command\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
        b"HTTP/1.0 200 OK\r\n\r\n[1]",
        b'HTTP/1.0 200 OK\r\n\r\n{"state": "ready"}',
        b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 60_000,
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 200_000,
    ],
)
def test_a_server_that_is_no_worker_is_one_sentence(capsys, answer):
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with listener(behave) as port:
        assert health("--port", port) == 1

    captured = capsys.readouterr()
    assert "is not a worker's metrics port" in captured.err
    assert captured.err.count("\n") == 1


def drip(connection: socket.socket) -> None:
    """Send a byte now and then, until the other side has gone."""
    try:
        while not connection.send(b"H") or not threading.Event().wait(0.05):
            pass
    except OSError:
        pass


@pytest.mark.parametrize(
    "behave", [lambda connection: connection.recv(4096) and connection.recv(1), drip]
)
def test_a_worker_that_hangs_or_drips_is_one_sentence_within_the_limit(capsys, behave):
    with listener(behave) as port:
        assert health("--port", port, "--timeout", "0.5") == 1

    assert "did not answer within 0.5 s: it hangs" in capsys.readouterr().err


def test_the_command_loads_neither_torch_nor_celery_nor_redis():
    program = (
        "import sys; from worker.cli.entry import run; run(['health', '--port', '1']); "
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in ended.stdout.split()}
    assert "click" in loaded
    assert not loaded & {*HEAVY, "celery", "redis", "pydantic", "prometheus_client"}
