"""Seconds of work, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from clip_worker.contract.worker_report import WorkerReport
from clip_worker.redis.queue_work import work_seconds


def report(**fields: Any) -> WorkerReport:
    base = {"worker": "w", "host": "h", "pid": 1, "version": "1", "started_at": 0.0}
    known = {"reported_at": 0.0, "state": "ready", "queues": ("clip",), "model": "demo"}
    return WorkerReport(**base | known | fields)


def test_the_images_are_divided_by_the_rate_of_all_workers() -> None:
    workers = [report(usual_images_per_s=30.0), report(usual_images_per_s=10.0)]
    assert work_seconds(400, workers) == 10.0


def test_messages_of_several_images_take_as_many_times_as_long() -> None:
    workers = [report(usual_images_per_s=10.0, images_per_message=4.0), report()]
    assert work_seconds(100, workers) == pytest.approx(100 * 4 / 20)  # the second is as fast


def test_who_does_not_take_tasks_does_not_count() -> None:
    workers = [
        report(usual_images_per_s=10.0),
        report(usual_images_per_s=10.0, state="draining"),
        report(usual_images_per_s=10.0, state="stuck"),
        report(state="starting"),
    ]
    assert work_seconds(100, workers) == 10.0


@pytest.mark.parametrize("workers", [[], [report()], [report(usual_images_per_s=0.0)]])
def test_without_a_rate_it_is_unknown_unless_nothing_is_there(workers: list[WorkerReport]) -> None:
    assert work_seconds(7, workers) is None
    assert work_seconds(0, workers) == 0.0
