"""The thread that writes the report: its life, and a Redis that is away."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from redis.exceptions import ConnectionError as LostConnectionError
from support.waiting import wait_until

from clip_worker.contract.worker_report import WorkerReport
from worker.runtime import report_writer
from worker.runtime.report_writer import ReportWriter

REPORT = WorkerReport(
    worker="a@host",
    host="host",
    pid=1,
    version="1",
    started_at=0.0,
    reported_at=0.0,
    state="ready",
    queues=("clip", "more"),
    model="demo",
)


class Stores:
    """The reports of all queues, in a Redis that may be away or hang."""

    def __init__(self) -> None:
        self.stored: dict[str, WorkerReport] = {}
        self.attempts = 0
        self.is_away = False
        self.is_closed = False

    def open(self, _redis: object, queue: str) -> Store:
        return Store(self, queue)

    def close(self) -> None:
        self.is_closed = True


class Store:
    """The reports of one queue."""

    def __init__(self, stores: Stores, queue: str) -> None:
        self._stores = stores
        self._queue = queue

    def put(self, report: WorkerReport) -> None:
        self._stores.attempts += 1
        if self._stores.is_away:
            raise LostConnectionError("refused")
        self._stores.stored[self._queue] = report

    def remove(self, worker: str) -> None:
        if self._stores.is_away:
            raise LostConnectionError("refused")
        assert self._stores.stored.pop(self._queue).worker == worker


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    stores = Stores()
    monkeypatch.setattr(report_writer, "WorkerReports", stores.open)
    return stores


def writer_of(stores: Any, every_s: float = 0.001) -> ReportWriter:
    return ReportWriter(stores, lambda: REPORT, every_s)


def test_it_writes_for_each_queue_and_removes_all_in_the_end(stores: Stores) -> None:
    writer = writer_of(stores)
    writer.start()
    wait_until(lambda: len(stores.stored) == 2)
    writer.stop(60)
    assert (stores.stored, stores.is_closed) == ({}, True)


def test_it_goes_on_after_redis_was_away_and_logs_nothing(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    stores.is_away = True
    writer = writer_of(stores)
    writer.start()
    wait_until(lambda: stores.attempts > 10)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    stores.is_away = False
    wait_until(lambda: len(stores.stored) == 2)
    writer.stop(60)
    assert stores.stored == {}


def test_a_report_that_cannot_be_made_does_not_end_it(
    stores: Any, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [RuntimeError("a bug")]

    def report() -> WorkerReport:
        if faults:
            raise faults.pop()
        return REPORT

    writer = ReportWriter(stores, report, 0.001)
    writer.start()
    wait_until(lambda: len(stores.stored) == 2)
    writer.stop(60)
    assert "can't be made" in caplog.text


def test_a_stop_waits_no_longer_than_it_may(stores: Any) -> None:
    held = threading.Event()

    def report() -> WorkerReport:
        held.wait(60)
        return REPORT

    writer = ReportWriter(stores, report, 0.001)
    writer.start()
    writer.stop(0.0)
    assert stores.attempts == 0
    held.set()
    wait_until(lambda: stores.is_closed)


def test_one_that_was_not_started_can_be_stopped(stores: Stores) -> None:
    writer_of(stores).stop(60)
    assert not stores.is_closed
