"""A fault that lasts is logged now and then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.delivery.throttled_warning import QUIET_S, ThrottledWarning

if TYPE_CHECKING:
    import pytest


def test_a_fault_that_comes_again_at_once_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    warning = ThrottledWarning(logging.getLogger("test"), "Nothing works", lambda: now[0])

    for _ in range(100):
        warning.warn(ValueError("away"))
    now[0] = QUIET_S
    warning.warn(ValueError("still away"))

    assert [record.message for record in caplog.records] == [
        "Nothing works because Redis fails (away). Retrying.",
        "Nothing works because Redis fails (still away). Retrying.",
    ]
