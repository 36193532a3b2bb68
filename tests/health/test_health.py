"""What a worker says of itself, by a clock that the tests move."""

from __future__ import annotations

import pytest
from support.fake_clock import FakeClock

from worker.health.health import AWAY_AFTER_S, STUCK_AFTER_S, Health, State


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> Health:
    """Of a worker that takes tasks, and whose Redis has answered."""
    health = Health(clock)
    health.redis_answered()
    health.serving()
    return health


def pass_time(
    clock: FakeClock, seconds: float, *health: Health, beats: tuple[str, ...] = ()
) -> None:
    """So many seconds in which Redis answers each second, and these loops turn."""
    for _ in range(int(seconds)):
        clock.sleep(1.0)
        for each in health:
            each.redis_answered()
            for name in beats:
                getattr(each, name).beat()


LOOPS = ("heartbeat", "poller", "celery_loop")


def test_a_worker_starts_takes_tasks_and_drains(clock):
    health = Health(clock)
    health.redis_answered()
    seen = [health.condition()]
    health.starting("The worker loads the model demo.")
    seen.append(health.condition())
    health.serving()
    seen.append(health.condition())
    health.draining()
    seen.append(health.condition())

    assert [each.state for each in seen] == ["starting", "starting", "ready", "draining"]
    assert seen[1].sentence == "The worker loads the model demo."
    assert [each.is_ready for each in seen] == [False, False, True, False]
    assert all(each.is_live for each in seen)


def test_a_worker_without_redis_is_live_but_not_ready_and_says_why(health, clock):
    clock.sleep(AWAY_AFTER_S + 1)
    health.redis_failed("Redis at redis://x can't be used: Timeout.")

    condition = health.condition()

    assert condition.state == State.REDIS_AWAY
    assert (condition.is_live, condition.is_ready) == (True, False)
    assert condition.sentence == (
        "Redis has not answered for 6 s. Redis at redis://x can't be used: Timeout. "
        "The worker goes on by itself once Redis is back."
    )


def test_one_late_answer_does_not_mean_that_redis_is_away(health, clock):
    clock.sleep(AWAY_AFTER_S)
    assert health.condition().is_ready

    health.redis_failed("Timeout.")
    assert health.condition().is_ready


def test_a_redis_that_never_answered_is_away_a_few_seconds_after_the_start(clock):
    health = Health(clock)
    assert health.condition().state == State.STARTING
    clock.sleep(AWAY_AFTER_S + 0.1)
    assert health.condition().state == State.REDIS_AWAY


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_stands_still_while_redis_answers_is_stuck(health, clock, loop):
    others = tuple(each for each in LOOPS if each != loop)
    pass_time(clock, 2, health, beats=LOOPS)
    pass_time(clock, STUCK_AFTER_S, health, beats=others)
    assert health.condition().is_ready
    pass_time(clock, 1, health, beats=others)

    condition = health.condition()

    assert condition.state == health.worker_state == "stuck"
    assert not condition.is_live
    assert getattr(health, loop).name in condition.sentence
    assert "has stood still for 61 s although Redis answers" in condition.sentence


def test_a_loop_that_never_turned_is_not_watched(health, clock):
    pass_time(clock, 10 * STUCK_AFTER_S, health, beats=("heartbeat", "poller"))

    assert health.condition().is_ready  # as with -P solo, whose tasks run on Celery's loop


def test_loops_may_stand_still_while_redis_is_away_and_for_a_minute_after_that(health, clock):
    pass_time(clock, 1, health, beats=LOOPS)
    clock.sleep(3600.0)
    assert health.condition().state == State.REDIS_AWAY

    pass_time(clock, STUCK_AFTER_S, health)
    assert health.condition().is_ready

    pass_time(clock, 2, health)
    assert health.condition().state == State.STUCK


def test_a_process_that_was_stopped_and_goes_on_is_not_stuck(health, clock):
    pass_time(clock, 1, health, beats=LOOPS)
    clock.sleep(10 * STUCK_AFTER_S)  # SIGSTOP, SIGCONT
    assert health.condition().is_live
    health.redis_answered()
    assert health.condition().is_ready


def test_a_forward_pass_over_its_limit_is_stuck_even_without_redis_or_while_it_drains(
    health, clock
):
    running_s = 120.0
    health.watch_forward_passes(lambda: running_s, 120.0)
    assert health.condition().is_ready

    running_s = 121.0
    clock.sleep(AWAY_AFTER_S + 1)
    health.draining()

    assert health.condition().state == health.worker_state == "stuck"
    assert "running for 121 s, more than CLIP_WORKER_HANG_TIMEOUT_S=120" in (
        health.condition().sentence
    )


def test_celerys_loop_may_wait_while_the_worker_drains(health, clock):
    pass_time(clock, 1, health, beats=LOOPS)
    health.draining()
    pass_time(clock, 10 * STUCK_AFTER_S, health)

    assert health.condition().state == State.DRAINING


def test_the_report_names_the_workers_own_state_while_redis_is_away(health, clock):
    clock.sleep(3600.0)

    assert health.condition().state == State.REDIS_AWAY
    assert health.worker_state == "ready"
