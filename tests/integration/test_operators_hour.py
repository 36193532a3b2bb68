"""A short operator's hour: no task is lost, and at each step the tools say what happens."""

from __future__ import annotations

import pytest

from benchmarks.operators_hour.__main__ import run
from benchmarks.operators_hour.page import page

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_in_an_operators_hour_no_task_is_lost_and_status_says_what_happens(tmp_path):
    # when
    hour, account = run(tmp_path, workers=3, waiting=60)
    # then
    said = {look.title: look.status for look in hour.looks}
    health = {look.title: look.health for look in hour.looks}
    text = page(hour.looks, account)
    assert account.outcomes["succeeded"] > 60
    assert account.lost == 0, account
    assert "run different models" in said["Half-way through a change of the model"]
    assert "has not reported for" in said["A worker is killed"]
    assert "memory of Redis is nearly full" in said["Redis is full"]
    assert said["Redis is stopped"].endswith("exit status 1\n")
    assert health["Redis is stopped"].endswith("exit status 1\n")
    for title in ("The model has changed", "Fewer workers", "Redis is back", "Nothing is left"):
        assert said[title].endswith("exit status 0\n"), said[title]
        assert health[title].endswith("exit status 0\n"), health[title]
    assert all(f"{look.title}\n" in text for look in hour.looks)
    assert "first-password" not in text
    assert "second-password" not in text
