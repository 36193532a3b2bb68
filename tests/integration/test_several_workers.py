"""`clip-worker start --workers 2`: one command, two workers, a shared queue."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.queue_state import unacked
from support.waiting import is_gone, wait_until
from support.worker_process import WorkerProcess

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
KEYS = QueueKeys(DEFAULT_QUEUE)
LABELS = ["red", "green"]
TAKING_TASKS = "taking tasks"
START = (sys.executable, "-m", "worker.cli", "start", "--workers", "2")


class Supervised(WorkerProcess):
    """The supervisor's process, and all that it starts."""

    def __init__(self, redis_url: str, folder: Path, **settings: str) -> None:
        defaults = {"allow_private": "true", "drain_timeout_s": "120", "fetch_timeout_s": "600"}
        super().__init__(redis_url, folder, command=START, **(defaults | settings))

    def wait_until_all_are_ready(self, times: int = 2) -> None:
        def explain() -> str:
            return f"not ready {times} times:\n{self.log}"

        wait_until(lambda: self.log.count(TAKING_TASKS) == times, explain)

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers, the oldest first."""
        children = psutil.Process(self.pid).children()
        return [each.pid for each in sorted(children, key=lambda each: each.create_time())]

    def descendants(self) -> list[int]:
        return [each.pid for each in psutil.Process(self.pid).children(recursive=True)]


@pytest.fixture
def supervised(redis_url: str, tmp_path: Path) -> Iterator[Supervised]:
    worker = Supervised(redis_url, tmp_path)
    yield worker
    worker.kill()


def test_two_workers_share_a_queue_and_one_that_is_killed_comes_back_without_losing_a_task(
    supervised, client, broker, site
):
    # given two workers that both hold tasks whose images don't come
    supervised.start()
    supervised.wait_until_all_are_ready()
    first, second = supervised.workers
    handles = [client.classify(site.url(f"/{n}"), LABELS) for n in range(400)]
    wait_until(lambda: len(holders(broker)) == 2)

    os.kill(second, signal.SIGKILL)

    supervised.wait_until_all_are_ready(3)
    site.go.set()
    assert all(handle.get(LIMIT_S).predictions for handle in handles)
    assert f"Worker 2 (process {second}) was killed by SIGKILL" in supervised.log
    # and after a hangup both run anew in their processes
    workers = supervised.workers
    assert (workers[0], len(workers)) == (first, 2)
    supervised.send_signal(signal.SIGHUP)
    supervised.wait_until_all_are_ready(5)
    assert supervised.workers == workers
    assert supervised.stop() == 0
    assert unacked(broker, KEYS) == 0


def holders(broker) -> set[bytes]:
    """The hashes of unacknowledged messages, one a worker."""
    return set(broker.scan_iter(KEYS.unacked("*")))


@pytest.mark.parametrize(
    ("number", "status", "as_a_service"),
    [(signal.SIGTERM, 0, True), (signal.SIGINT, 1, False)],
)
def test_a_signal_has_all_workers_finish_what_they_hold(
    supervised, client, broker, site, number, status, as_a_service
):
    # given
    supervised.start()
    supervised.wait_until_all_are_ready()
    workers = supervised.workers
    handles = [client.classify(site.url(f"/{n}"), LABELS) for n in range(8)]
    wait_until(lambda: unacked(broker, KEYS) == 8)

    if as_a_service:  # systemd sends the signal to each process
        for pid in workers:
            os.kill(pid, number)
    supervised.send_signal(number)

    wait_until(lambda: supervised.log.count("Warm shutdown") == 2, lambda: supervised.log)
    assert supervised.running.poll() is None
    site.go.set()
    assert supervised.wait_for_end() == status
    assert all(handle.get(LIMIT_S).predictions for handle in handles)
    assert all(map(is_gone, workers))
    assert "started again" not in supervised.log


def test_a_second_ctrl_c_requeues_everything_and_ends_all_at_once(supervised, client, broker, site):
    supervised.start()
    supervised.wait_until_all_are_ready()
    handles = [client.classify(site.url(f"/{n}"), LABELS) for n in range(8)]
    wait_until(lambda: unacked(broker, KEYS) == 8)
    supervised.send_signal(signal.SIGINT)
    wait_until(lambda: supervised.log.count("Warm shutdown") == 2, lambda: supervised.log)

    supervised.send_signal(signal.SIGINT)

    assert supervised.wait_for_end() == 1
    # Some are among the arrived, where Redis moves what wakes a worker, if that one stopped, too;
    # or among the suspects, if one's worker was taken for dead meanwhile.
    places = (*KEYS.lists, *KEYS.arrived, KEYS.suspects)
    assert sum(broker.llen(place) for place in places) == len(handles)
    assert unacked(broker, KEYS) == 0


def test_when_the_supervisor_is_killed_nothing_that_it_started_is_left(supervised):
    supervised.start()
    supervised.wait_until_all_are_ready()
    descendants = supervised.descendants()
    assert len(descendants) > len(supervised.workers)  # fork servers, preparation processes

    supervised.kill()

    wait_until(lambda: all(map(is_over, descendants)), lambda: descendants)


def is_over(pid: int) -> bool:
    """Whether a process has ended, though perhaps nobody reaps it here."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_worker_that_can_t_start_ends_all_with_one_sentence(redis_url, tmp_path):
    with_wrong_model = Supervised(redis_url, tmp_path, model=str(tmp_path / "missing"))
    with_wrong_model.start()

    assert with_wrong_model.wait_for_end(LIMIT_S) == 1

    log = with_wrong_model.log
    assert log.count("can't be loaded") == log.count("loading") == 1
    assert log.splitlines()[-1].endswith(
        "exited with status 1 before it was ready; it is not started again."
    )
