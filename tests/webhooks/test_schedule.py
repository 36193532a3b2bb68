"""When the next attempt to post is made."""

from __future__ import annotations

import pytest

from worker.webhooks.schedule import RetrySchedule


@pytest.mark.parametrize(
    ("tried", "trying_s", "asked_s", "draw", "pause_s"),
    [
        (1, 0, None, 0.5, 5.0),
        (1, 0, None, 0.0, 3.75),
        (2, 0, None, 0.5, 12.0),
        (11, 0, None, 0.5, 5 * 2.4**10),
        (12, 0, None, 0.5, None),
        (1, 0, 120.0, 0.5, 120.0),  # as long as the server asks
        (1, 0, 1.0, 0.5, 5.0),  # but no sooner
        (1, 0, 1e9, 0.5, 3600.0),  # and not for as long as it likes
        (2, 86_395, None, 0.5, None),  # it would start after the last moment
        (2, 86_380, None, 0.5, 12.0),
    ],
)
def test_pauses_grow_with_jitter_and_follow_the_server_within_bounds(
    tried: int, trying_s: float, asked_s: float | None, draw: float, pause_s: float | None
) -> None:
    schedule = RetrySchedule()
    found = schedule.pause_s(tried=tried, trying_s=trying_s, asked_s=asked_s, draw=lambda: draw)
    assert found == (None if pause_s is None else pytest.approx(pause_s))
