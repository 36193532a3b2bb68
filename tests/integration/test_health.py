"""The health of real workers: from the first second of the start, without Redis, stuck, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import psutil
import pytest
from support.ports import free_port
from support.redis_server import new_server
from support.waiting import wait_until
from support.worker_process import WorkerProcess

pytestmark = [pytest.mark.integration, pytest.mark.slow]

START = (sys.executable, "-m", "worker.cli", "start")
LIMIT_S = 120.0
START_LIMIT_S = 240.0  # of a start that fails, on a busy machine


def get(port: int, path: str = "/readyz") -> tuple[int, Any]:
    """Status and body; 0 if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {"state": ""}


def wait_for_state(port: int, state: str) -> tuple[int, int]:
    """Statuses of liveness and readiness, once this is the state."""
    wait_until(lambda: get(port)[1]["state"] == state, lambda: str(get(port)), limit_s=LIMIT_S)
    return get(port, "/healthz")[0], get(port)[0]


def health(port: int, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "worker.cli", "health", "--port", str(port), *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("command", [(), START], ids=["celery", "start"])
def test_a_worker_tells_all_its_states(tmp_path, command):
    port = free_port()
    with new_server() as server:
        worker = WorkerProcess(server.url, tmp_path, command=command, metrics_port=str(port))
        worker.start()
        try:
            assert wait_for_state(port, "starting") == (200, 503)
            assert wait_for_state(port, "ready") == (200, 200)
            assert health(port) == (0, "The worker takes tasks.\n")

            os.kill(server.pid or 0, signal.SIGSTOP)  # it hangs: the port is open, nothing answers
            assert wait_for_state(port, "redis_away") == (200, 503)
            assert health(port, "--live")[0] == 0
            os.kill(server.pid or 0, signal.SIGCONT)
            assert wait_for_state(port, "ready") == (200, 200)

            server.kill()
            assert wait_for_state(port, "redis_away") == (200, 503)
            status, sentence = health(port)
            assert status == 1
            assert sentence.startswith("clip-worker: Redis has not answered for ")
            server.restart()
            assert wait_for_state(port, "ready") == (200, 200)
            assert worker.stop() == 0
            assert health(port)[0] == 1
        finally:
            worker.kill()


def test_a_process_that_stands_still_is_not_healthy(redis_url, tmp_path):
    port = free_port()
    with WorkerProcess(redis_url, tmp_path, metrics_port=str(port)) as worker:
        wait_for_state(port, "ready")
        worker.send_signal(signal.SIGSTOP)

        status, sentence = health(port, "--live", "--timeout", "1")

        worker.send_signal(signal.SIGCONT)
        assert (status, "did not answer within 1 s" in sentence) == (1, True)
        assert wait_for_state(port, "ready") == (200, 200)


def test_a_taken_port_ends_the_start_with_one_sentence(redis_url, tmp_path):
    port = free_port()
    with WorkerProcess(redis_url, tmp_path, metrics_port=str(port)):
        for number, command in enumerate([(), START]):
            name = f"second{number}"
            second = WorkerProcess(
                redis_url, tmp_path, name=name, command=command, metrics_port=str(port)
            )
            second.start()
            assert second.wait_for_end(START_LIMIT_S) == 1
            [sentence] = [line for line in second.log.splitlines() if "metrics port" in line]
            assert sentence.startswith(f"clip-worker: The metrics port {port} of 0.0.0.0 can't be")
            assert "Traceback" not in second.log


def test_of_two_supervised_workers_each_has_a_port_and_both_are_asked(redis_url, tmp_path):
    port = free_port(2)
    supervised = (*START, "--workers", "2")
    with WorkerProcess(redis_url, tmp_path, command=supervised, metrics_port=str(port)) as worker:
        assert wait_for_state(port, "ready") == (200, 200)
        assert wait_for_state(port + 1, "ready") == (200, 200)
        assert health(port) == (0, "All 2 workers: The worker takes tasks.\n")
        children = psutil.Process(worker.pid).children()
        second = max(children, key=lambda each: each.create_time())
        second.send_signal(signal.SIGSTOP)

        status, sentence = health(port, "--live", "--timeout", "1")

        second.send_signal(signal.SIGCONT)
        assert (status, f":{port + 1} did not answer" in sentence) == (1, True)
        assert worker.stop() == 0
