"""How far a run is: its rate and what is left, from when and how many images ended."""

from __future__ import annotations

import pytest
from support.fake_clock import FakeClock
from support.progress import classified, failed

from clip_worker.bulk.progress import SAMPLES, Progress


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_the_rate_counts_this_start_alone_and_gives_the_time_that_is_left(clock: FakeClock) -> None:
    # given a run that continues
    progress = Progress(total=100, clock=clock)
    assert (progress.rate, progress.eta_s) == (0.0, None)
    progress.begin(done=50, failed=10)
    # when 8 images end in 4 seconds
    clock.sleep(4.0)
    progress.note([classified("a.jpg")] * 6 + [failed("b.jpg")] * 2)
    # then
    assert (progress.done, progress.failed) == (56, 12)
    assert progress.rate == pytest.approx(8 / 4)
    assert progress.eta_s == pytest.approx((100 - 68) / 2)


def test_the_rate_is_that_of_the_last_half_minute(clock: FakeClock) -> None:
    progress = Progress(clock=clock)
    progress.begin(0, 0)
    for images in [100] * 10 + [2] * SAMPLES:
        clock.sleep(1.0)
        progress.note([classified("a.jpg")] * images)
        progress.sample()
    assert progress.rate == pytest.approx(2.0)


def test_images_that_are_sent_again_count_once_and_have_a_rate(clock: FakeClock) -> None:
    # given
    progress = Progress(total=30, clock=clock)
    progress.begin(done=20, failed=10)
    clock.sleep(2.0)
    # when
    progress.note([classified("a.jpg")] * 3 + [failed("b.jpg")], retried=True)
    # then
    assert (progress.done, progress.failed, progress.ended) == (23, 7, 30)
    assert progress.rate == pytest.approx(4 / 2)
