"""Warnings that repeat pass a few times a minute."""

from __future__ import annotations

import logging

from support.fake_clock import FakeClock

from worker.logs.throttle import MOST_A_MINUTE, WINDOW_S, Throttle


def record(
    level: int = logging.WARNING, line: int = 1, text: str = "Image %s failed"
) -> logging.LogRecord:
    return logging.LogRecord("worker.x", level, "x.py", line, text, ("a",), None)


def test_ten_thousand_failures_in_a_minute_are_a_few_lines():
    throttle = Throttle(FakeClock())

    assert sum(throttle.filter(record()) for _ in range(10_000)) == MOST_A_MINUTE


def test_another_line_of_code_has_a_count_of_its_own():
    throttle = Throttle(FakeClock())
    for _ in range(100):
        throttle.filter(record())

    assert throttle.filter(record(line=2))


def test_after_a_minute_it_passes_again_and_says_how_many_were_left_out():
    clock = FakeClock()
    throttle = Throttle(clock)
    for _ in range(10_000):
        throttle.filter(record())
    clock.sleep(WINDOW_S)
    first, second = record(), record()

    assert throttle.filter(first)
    assert throttle.filter(second)

    assert first.getMessage() == "Image a failed (9,995 more like this were left out.)"
    assert second.getMessage() == "Image a failed"


def test_what_was_asked_for_and_what_ends_the_worker_always_passes():
    throttle = Throttle(FakeClock())

    assert all(throttle.filter(record(logging.INFO)) for _ in range(1000))
    assert all(throttle.filter(record(logging.CRITICAL)) for _ in range(1000))
