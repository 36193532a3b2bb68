"""`clip-worker exporter`, as a process beside a real Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from support.redis_server import RedisServer, new_server
from support.waiting import wait_until

from clip_worker.contract.worker_report import WorkerReport
from clip_worker.redis.worker_reports import WorkerReports
from worker.cli.demo.redis_server import find_free_port
from worker.cli.entry import run

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 60.0
REPORT = WorkerReport(
    worker="a@host",
    host="host",
    pid=1,
    version="1",
    started_at=0.0,
    reported_at=0.0,
    state="ready",
    queues=("clip",),
    model="demo",
    usual_images_per_s=4.0,
    images_per_message=2.0,
)


@contextmanager
def exporter(redis_url: str, *queues: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that answers, and its port."""
    port = find_free_port()
    options = [option for queue in queues for option in ("--queue", queue)]
    command = [sys.executable, "-m", "worker.cli", "exporter", "--redis-url", redis_url, *options]
    process = subprocess.Popen([*command, "--port", str(port), "--address", "127.0.0.1"])
    try:
        wait_until(lambda: answers(process, port), lambda: "no exporter", limit_s=LIMIT_S)
        yield process, port
    finally:
        process.kill()
        process.wait()


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None
    try:
        return get(port, "/healthz")[0] == 200
    except OSError:
        return False


def get(port: int, path: str) -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.integration
def test_it_tells_of_work_although_no_worker_is_there(redis_server: RedisServer) -> None:
    redis = redis_server.client()
    redis.flushall()
    redis.lpush("clip", *["{}"] * 3)
    redis.lpush("other queue", "{}")
    redis.zadd("clip-worker:clip:workers", {"lost": 1.0})  # a lease that has lapsed
    redis.hset("clip-worker:clip:unacked:lost", mapping={"a": "{}", "b": "{}"})
    with exporter(redis_server.url, "clip", "other queue") as (process, port):
        status, body = get(port, "/queue.json")
        assert (status, json.loads(body)) == (
            200,
            {
                "queue": "clip",
                "messages": 3,
                "in_flight_messages": 2,
                "total_messages": 5,
                "oldest_seconds": None,
                "work_seconds": None,
                "workers": 0,
                "dead_letters": 0,
                "webhooks": 0,
                "tenants": 0,
            },
        )
        other = json.loads(get(port, "/queues/other%20queue.json")[1])
        assert (other["queue"], other["total_messages"]) == ("other queue", 1)
        shown = get(port, "/metrics")[1].splitlines()
        assert 'clip_worker_queue_in_flight_messages{queue="clip"} 2.0' in shown
        assert 'clip_worker_queue_messages{queue="other queue"} 1.0' in shown
        assert not [line for line in shown if line.startswith("clip_worker_queue_work_seconds{")]
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


@pytest.mark.integration
def test_work_is_what_waits_at_the_rate_of_the_workers(redis_server: RedisServer) -> None:
    redis = redis_server.client()
    redis.flushall()
    redis.lpush("clip", *["{}"] * 6)
    WorkerReports(redis, "clip").put(REPORT)
    with exporter(redis_server.url) as (_, port):
        found = json.loads(get(port, "/queue.json")[1])
        assert (found["work_seconds"], found["workers"]) == (3.0, 1)
        assert 'clip_worker_queue_work_seconds{queue="clip"} 3.0' in get(port, "/metrics")[1]


@pytest.mark.integration
def test_it_answers_while_redis_hangs_and_after_it_is_back() -> None:
    with new_server() as server, exporter(server.url) as (_, port):
        os.kill(server.pid or 0, signal.SIGSTOP)
        wait_until(
            lambda: get(port, "/queue.json")[0] == 503, lambda: "still fresh", limit_s=LIMIT_S
        )
        status, shown = get(port, "/metrics")
        assert status == 200
        assert "process_resident_memory_bytes" in shown
        assert "clip_worker_queue_messages{" not in shown
        os.kill(server.pid or 0, signal.SIGCONT)
        wait_until(
            lambda: get(port, "/queue.json")[0] == 200, lambda: "still away", limit_s=LIMIT_S
        )


@pytest.mark.integration
def test_a_port_that_is_taken_is_a_sentence(
    redis_server: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with exporter(redis_server.url) as (_, port):
        command = [sys.executable, "-m", "worker.cli", "exporter", "--port", str(port)]
        assert subprocess.run([*command, "--address", "127.0.0.1"], check=False).returncode == 1
        assert f"The port {port} of 127.0.0.1 can't be opened" in capfd.readouterr().err


def test_without_prometheus_client_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worker.cli.exporter.command.find_spec", lambda _name: None)
    assert run(["exporter"]) == 2
    assert "pip install prometheus-client" in capsys.readouterr().err
