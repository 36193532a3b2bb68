"""The line a minute: what it says, and when there is none."""

from __future__ import annotations

import pytest

from clip_worker.contract.worker_report import WorkerReport
from worker.runtime.minute_log import minute_line


def report(**fields: object) -> WorkerReport:
    known = {
        "worker": "clip-7@host",
        "host": "host",
        "pid": 7,
        "version": "1",
        "started_at": 0.0,
        "reported_at": 60.0,
        "state": "ready",
        "queues": ("clip",),
        "model": "demo",
    }
    return WorkerReport.model_validate(known | fields)


IDLE = report(images=10_000, failures={"FETCH_404": 3})


def test_a_busy_minute_says_rate_queue_in_flight_batch_size_and_failures_by_code():
    after = report(
        images=11_234,
        batch_images=7.84,
        in_flight=512,
        failures={"FETCH_404": 15, "DECODE_BROKEN": 2, "INTERNAL": 1300},
    )

    assert minute_line(IDLE, after, 4321, 60.0) == (
        "1,234 images in 60 s, 20.6 a second, 7.8 a batch; 4,321 messages wait, 512 images are in "
        "flight; failed tasks: 1,300 INTERNAL, 12 FETCH_404, 2 DECODE_BROKEN."
    )


def test_an_idle_worker_says_nothing():
    assert minute_line(IDLE, IDLE, 0, 60.0) is None
    assert minute_line(IDLE, IDLE, None, 60.0) is None


@pytest.mark.parametrize(
    ("after", "waiting", "said"),
    [
        (IDLE, 5, "0 images in 60 s, 0.0 a second; 5 messages wait, 0 images are in flight."),
        (
            report(images=10_000, failures=IDLE.failures, in_flight=8, state="stuck"),
            None,
            (
                "0 images in 60 s, 0.0 a second; Redis does not say how many messages wait, "
                "8 images are in flight; the worker is stuck."
            ),
        ),
    ],
)
def test_a_worker_that_does_nothing_although_something_waits_says_so(after, waiting, said):
    assert minute_line(IDLE, after, waiting, 60.0) == said


def test_many_codes_are_not_all_listed():
    after = report(images=10_001, failures={f"CODE_{i:02}": 1 for i in range(20)})

    line = minute_line(report(images=10_000), after, 0, 60.0) or ""

    assert line.endswith("1 CODE_07, 12 with other codes.")
