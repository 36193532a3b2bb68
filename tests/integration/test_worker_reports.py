"""Reports in a real Redis: their life, and what a reader does with those that it can't read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clip_worker.contract.keys import QueueKeys
from clip_worker.contract.worker_report import FORGOTTEN_AFTER_S, WorkerReport
from clip_worker.redis.worker_reports import WorkerReports

if TYPE_CHECKING:
    from redis import Redis

pytestmark = pytest.mark.integration
KEYS = QueueKeys("clip")


def report(worker: str, **fields: Any) -> WorkerReport:
    base = {"worker": worker, "host": "h", "pid": 1, "version": "1", "started_at": 0.0}
    known = {"reported_at": 0.0, "state": "ready", "queues": ("clip",), "model": "demo"}
    return WorkerReport(**base | known | fields)


def test_the_last_report_of_each_worker_is_read(broker: Redis) -> None:
    reports = WorkerReports(broker, "clip")
    reports.put(report("b@host", images=1))
    reports.put(report("a@host"))
    reports.put(report("b@host", images=2, failures={"FETCH_404": 3}))
    assert reports.all() == [
        report("a@host"),
        report("b@host", images=2, failures={"FETCH_404": 3}),
    ]


def test_a_worker_that_reports_no_more_is_forgotten(broker: Redis) -> None:
    reports = WorkerReports(broker, "clip")
    reports.put(report("gone@host"))
    assert 0 < broker.ttl(KEYS.report("gone@host")) <= FORGOTTEN_AFTER_S
    broker.zadd(KEYS.reports, {"gone@host": 1.0})
    broker.delete(KEYS.report("gone@host"))  # as if it had expired
    assert reports.all() == []
    reports.put(report("here@host"))
    assert broker.zrange(KEYS.reports, 0, -1) == [b"here@host"]


def test_the_clock_of_a_worker_does_not_matter(broker: Redis) -> None:
    reports = WorkerReports(broker, "clip")
    reports.put(report("right@host"))
    reports.put(report("ahead@host", reported_at=9e9))
    assert [each.worker for each in reports.all()] == ["ahead@host", "right@host"]


def test_a_removed_report_leaves_no_key(broker: Redis) -> None:
    reports = WorkerReports(broker, "clip")
    reports.put(report("a@host"))
    reports.remove("a@host")
    assert broker.keys() == []


def test_what_is_no_report_is_left_out_and_a_newer_one_is_read(broker: Redis) -> None:
    reports = WorkerReports(broker, "clip")
    for name, stored in (("bad@host", "{"), ("odd@host", '{"worker": 1}')):
        broker.zadd(KEYS.reports, {name: 1.0})
        broker.set(KEYS.report(name), stored)
    reports.put(report("a@host"))
    newer = report("new@host").model_dump_json().replace("{", '{"added_later": [1], ', 1)
    broker.zadd(KEYS.reports, {"new@host": 1.0})
    broker.set(KEYS.report("new@host"), newer)
    assert [each.worker for each in reports.all()] == ["a@host", "new@host"]
