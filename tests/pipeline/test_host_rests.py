"""When a host rests, who tries it then, and who can't wait so long. No threads, no real time."""

from __future__ import annotations

import pytest
from support.host_bench import REST, HostBench

from worker.pipeline.host_limiter import Answer


def test_a_host_that_fails_in_a_row_rests_and_others_go_on() -> None:
    bench = HostBench()
    bench.rest("a")
    assert bench.going(bench.enter(*"aab")) == "b"
    assert bench.limiter.resting == 2
    assert bench.timer.due_in_s == [1.0]


def test_an_answer_in_between_starts_the_count_anew() -> None:
    bench = HostBench()
    for _ in range(5):
        bench.fail(*bench.enter(*"a" * (REST.failures - 1)))
        bench.answer(*bench.enter("a"))
    assert bench.going(bench.enter("a")) == "a"
    assert bench.timer.due_in_s == []


def test_after_the_rest_one_tries_and_the_others_follow_its_success() -> None:
    bench = HostBench()
    bench.rest("a")
    held = bench.enter(*"aaa")
    bench.timer.advance(0.999)
    assert bench.going(held) == ""
    # when the rest ends, one goes, and who comes meanwhile waits too
    bench.timer.advance(0.001)
    assert bench.going(held) == "a"
    held += bench.enter("a")
    assert (bench.going(held), bench.limiter.resting) == ("a", 3)
    bench.answer(held[0])
    assert (bench.going(held), bench.limiter.resting) == ("aaaa", 0)
    # and the count starts anew
    bench.fail(*held[1:3])
    assert bench.going(bench.enter("a")) == "a"


def test_after_a_rest_those_that_wait_for_a_thread_wait_for_no_rest() -> None:
    bench = HostBench()
    bench.rest("a")
    held = bench.enter(*"a" * 50)
    bench.timer.advance(1.0)
    bench.answer(held[0])
    assert len(bench.going(held)) < 50
    assert bench.limiter.resting == 0


def test_a_trial_that_fails_doubles_the_rest_up_to_the_longest() -> None:
    bench = HostBench()
    bench.rest("a")
    rests = []
    for _ in range(5):
        rests += bench.timer.due_in_s
        [task] = bench.enter("a")
        bench.timer.advance(bench.timer.due_in_s[0])
        bench.fail(task)
    assert rests == [1.0, 2.0, 4.0, 8.0, 8.0]
    # and an answer makes the next rest short again
    bench.timer.advance(8.0)
    bench.answer(*bench.enter("a"))
    bench.rest("a")
    assert bench.timer.due_in_s == [1.0]


@pytest.mark.parametrize(("asked_s", "rest_s"), [(5.0, 5.0), (3600.0, 8.0), (0.1, 1.0)])
def test_a_rest_is_as_long_as_the_host_asks_within_the_longest(
    asked_s: float, rest_s: float
) -> None:
    bench = HostBench()
    bench.fail(*bench.enter(*"aaa"), retry_after_s=asked_s)
    assert bench.timer.due_in_s == [rest_s]


def test_when_nobody_waits_at_a_rests_end_the_next_to_come_tries() -> None:
    bench = HostBench()
    bench.rest("a")
    bench.timer.advance(1.0)
    assert bench.going(bench.enter(*"aa")) == "a"


def test_a_trial_that_did_not_ask_the_host_hands_the_trial_on() -> None:
    bench = HostBench()
    bench.rest("a")
    tasks = bench.enter(*"aaa")
    bench.timer.advance(1.0)
    bench.limiter.report([(tasks[0], Answer.NOT_ASKED)])
    assert [task in bench.started for task in tasks] == [True, True, False]


def test_those_who_went_before_the_rest_neither_lengthen_it_nor_count() -> None:
    # given three that fail and four that went with them
    bench = HostBench()
    tasks = bench.enter(*"a" * 7)
    bench.fail(*tasks[:3])
    # when one of the four fails during the rest, and one during the trial
    bench.fail(tasks[3])
    assert bench.timer.due_in_s == [1.0]
    trial, waiting = bench.enter(*"aa")
    bench.timer.advance(1.0)
    bench.fail(tasks[4])
    assert bench.timer.due_in_s == []
    assert bench.going([trial, waiting]) == "a"
    # and an answer to one of them opens the host, so that the trial is none any more
    bench.answer(tasks[5])
    assert waiting in bench.started
    bench.fail(trial)
    assert bench.timer.due_in_s == []
    assert bench.going(bench.enter("a")) == "a"


def test_the_end_of_an_earlier_rest_does_not_end_a_later_one() -> None:
    # given a rest that an answer ended early, and then another one
    bench = HostBench()
    tasks = bench.enter(*"a" * 5)
    bench.fail(*tasks[:3])
    bench.timer.advance(0.5)
    bench.answer(tasks[3])
    bench.rest("a")
    assert bench.timer.due_in_s == [0.5, 1.0]
    # when the first would have ended
    [held] = bench.enter("a")
    bench.timer.advance(0.5)
    assert held not in bench.started
    bench.timer.advance(0.5)
    assert held in bench.started


# --- patience ---


def test_who_can_not_wait_for_the_rests_end_is_dropped_with_the_last_error() -> None:
    bench = HostBench(threads=8)
    tasks = bench.enter(*"aaa") + bench.enter(*"a" * 10, patience_s=0.9) + bench.enter("a")
    bench.fail(*tasks[:2])
    bench.fail(tasks[2], retry_after_s=0.25)
    # then those that had gone are not dropped, those that wait are, and so is who comes later
    waited = [task for task in tasks[3:13] if task not in bench.started]
    [late] = bench.enter("a", patience_s=1.0)
    assert len(waited) >= 2
    assert list(bench.dropped) == [*waited, late]
    assert {error and error.retry_after_s for error in bench.dropped.values()} == {0.25}
    assert bench.limiter.resting == 1


def test_a_rest_that_grows_too_long_drops_those_who_waited_through_the_first() -> None:
    bench = HostBench()
    bench.rest("a")
    trial, _patient = bench.enter(*"aa")
    [hasty] = bench.enter("a", patience_s=1.5)
    bench.timer.advance(1.0)
    bench.fail(trial)
    assert (list(bench.dropped), bench.limiter.resting) == ([hasty], 1)
