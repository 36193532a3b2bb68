"""A fault that lasts is told of now and then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.delivery.complaint import QUIET_S, Complaint

if TYPE_CHECKING:
    import pytest


def test_a_fault_that_comes_again_at_once_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    complaint = Complaint(logging.getLogger("test"), "Nothing works", lambda: now[0])

    for _ in range(100):
        complaint.about(ValueError("away"))
    now[0] = QUIET_S
    complaint.about(ValueError("still away"))

    assert [record.message for record in caplog.records] == [
        "Nothing works, for Redis fails (away); trying on.",
        "Nothing works, for Redis fails (still away); trying on.",
    ]
