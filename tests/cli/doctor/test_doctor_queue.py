"""What the doctor finds about a queue."""

from __future__ import annotations

import time
from functools import partial

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from support.waiting import wait_until

from clip_worker import Client
from clip_worker.contract.keys import dead_index_key
from clip_worker.contract.worker_report import WorkerReport
from clip_worker.redis.url import connect
from clip_worker.redis.worker_reports import WorkerReports

pytestmark = pytest.mark.integration

REPORT = WorkerReport(
    worker="clip-1@a",
    host="a",
    pid=1,
    version="1.0",
    started_at=time.time(),
    reported_at=time.time(),
    state="ready",
    queues=("clip",),
    model="ViT-B/32",
    model_digest="a" * 64,
)


def test_celerys_default_queue_is_a_warning(doctor, redis_url) -> None:
    status, found = doctor(redis_url, "name", "--queue", "celery")
    assert (status, found["name"]["status"]) == (0, "warning")
    assert "NotRegistered" in found["name"]["found"]


def test_messages_without_a_worker_are_a_warning(doctor, redis_url) -> None:
    with Client(redis_url) as client:
        client.classify("https://example.com/cat.jpg", ["cat", "dog"])
    _, found = doctor(redis_url, "waiting")
    assert found["waiting"]["status"] == "warning"
    assert found["waiting"]["found"].startswith("1 message waiting, the oldest for")


def test_dead_letters_are_a_warning(doctor, redis_url) -> None:
    with connect(redis_url) as redis:
        redis.zadd(dead_index_key("clip"), {"id": 1})
    _, found = doctor(redis_url, "dead letters")
    assert found["dead letters"]["found"] == "1 dead letter: messages that workers gave up."


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"model_digest": "b" * 64}, "different models: ViT-B/32 aaaaaaaaaaaa, ViT-B/32 bbbb"),
        ({"version": "0.9"}, "different versions: 0.9, 1.0"),
    ],
)
def test_workers_that_differ_are_a_warning(doctor, redis_url, other, named) -> None:
    with connect(redis_url) as redis:
        reports = WorkerReports(redis, "clip")
        reports.put(REPORT)
        reports.put(REPORT.model_copy(update={"worker": "clip-2@b"} | other))
    _, found = doctor(redis_url, "workers")
    assert found["workers"]["status"] == "warning"
    assert named in found["workers"]["found"]


def test_a_worker_of_another_application_on_the_queue_is_a_problem(doctor, redis_url) -> None:
    # given a stock worker of a backend, which takes from our queue
    backend = Celery("backend", broker=redis_url, backend=redis_url, set_as_current=False)
    backend.conf.task_default_queue = "clip"
    with start_worker(
        backend,
        pool="solo",
        perform_ping_check=False,
        without_heartbeat=False,
        hostname="b@h",
        loglevel="WARNING",  # the root logger keeps its level for the tests that follow
    ):
        wait_until(
            partial(backend.control.ping, timeout=0.5), lambda: "the backend's worker is not there"
        )
        # when
        status, found = doctor(redis_url, "other consumers")
        # then
        assert status == 1
        assert (
            "Workers of another application take from the queue"
            in (found["other consumers"]["found"])
        )


def test_a_clip_worker_on_the_queue_is_fine(doctor, shared_worker) -> None:
    def worker_answered() -> bool:
        found = doctor(shared_worker.redis, "other consumers")[1]["other consumers"]
        assert found["status"] == "ok"
        return "worker@" in found["found"]

    wait_until(worker_answered, lambda: "the worker did not answer in time")
