"""Rates and averages, from totals at moments that the test chooses."""

from __future__ import annotations

import pytest

from worker.metrics.recent import Recent, Totals


def looked(*looks: Totals) -> Recent:
    recent = Recent()
    for look in looks:
        recent.look(look)
    return recent


def test_nothing_is_known_at_first() -> None:
    recent = looked(Totals(0.0))
    assert (recent.images_per_s, recent.usual_images_per_s) == (0.0, None)
    assert (recent.batch_images, recent.round_trip_s, recent.images_per_message) == (None,) * 3


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    before = [Totals(2.0 * i, images=1000 * i) for i in range(6)]
    after = [Totals(10.0 + 2 * i, images=5000 + 20 * i) for i in range(1, 6)]
    assert looked(*before, *after).images_per_s == 10.0


def test_looks_that_lie_far_apart_give_the_rate_between_them() -> None:
    assert looked(Totals(0.0), Totals(40.0, images=80)).images_per_s == 2.0


def test_only_time_with_enough_to_do_counts_for_the_usual_rate() -> None:
    recent = looked(
        Totals(0.0, is_busy=True),
        Totals(2.0, images=100, is_busy=True),  # 50/s
        Totals(4.0, images=100, is_busy=False),
        Totals(6.0, images=101, is_busy=True),
    )
    assert recent.usual_images_per_s == 50.0


def test_the_usual_rate_follows_a_new_one_slowly() -> None:
    recent = looked(*(Totals(2.0 * i, images=100 * i, is_busy=True) for i in range(3)))
    recent.look(Totals(6.0, images=200, is_busy=True))  # 0/s
    assert recent.usual_images_per_s == pytest.approx(40.0)


def test_averages_are_those_of_the_last_minute() -> None:
    old = Totals(0.0, batches=100, batch_images=100.0, round_trips=10, round_trips_s=10.0)
    at_a_minute = old._replace(at_s=60.0)
    now = Totals(100.0, batches=110, batch_images=180.0, round_trips=20, round_trips_s=10.5)
    recent = looked(Totals(-60.0), old, at_a_minute, now)
    assert (recent.batch_images, recent.round_trip_s) == (8.0, 0.05)


def test_images_a_message_stay_known_while_no_message_is_taken() -> None:
    recent = looked(Totals(0.0), Totals(2.0, messages=4, message_images=12))
    for second in range(4, 200, 2):
        recent.look(Totals(float(second), messages=4, message_images=12))
    assert recent.images_per_message == 3.0
