"""Which fetch starts when: shares of the threads, rests, trials. No threads, no real time."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.fake_timer import FakeTimer

from clip_worker.errors import TemporaryError
from worker.pipeline import host_limiter
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.host_limiter import Answer, HostLimiter, host_of
from worker.pipeline.image_task import ImageTask, TaggingRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

REST = RestPolicy(failures=3, first_s=1.0, factor=2.0, longest_s=8.0)
REQUEST = TaggingRequest(("a",), ("{}",), 1)


def broken(retry_after_s: float | None = None) -> TemporaryError:
    error = TemporaryError("It failed.", "FETCH_503")
    error.retry_after_s = retry_after_s
    return error


class Bench:
    """A limiter, and the fetches that a test makes and ends by hand."""

    def __init__(self, threads: int = 32, most_a_host: int | None = None) -> None:
        self.timer = FakeTimer()
        self.started: list[ImageTask] = []
        self.dropped: dict[ImageTask, TemporaryError | None] = {}
        self.unwanted: set[ImageTask] = set()
        self.patience_s: dict[ImageTask, float] = {}
        self.limiter = HostLimiter(
            self.timer,  # type: ignore[arg-type]  # it has what is used
            self,
            threads=threads,
            most_a_host=most_a_host,
            rest=REST,
        )

    def start(self, tasks: Sequence[ImageTask]) -> None:
        assert self.limiter.resting >= 0, "called without the lock, or this would hang"
        self.started += tasks

    def drop(self, task: ImageTask, error: TemporaryError | None) -> None:
        assert self.limiter.resting >= 0, "likewise"
        self.dropped[task] = error

    def is_wanted(self, task: ImageTask) -> bool:
        return task not in self.unwanted

    def gives_up_at(self, task: ImageTask) -> float:
        return self.timer.now_s + self.patience_s.get(task, 1e9)

    def enter(self, *hosts: str, patience_s: float = 1e9) -> list[ImageTask]:
        """One fetch for each host."""
        tasks = [ImageTask(host, REQUEST, None, host=host) for host in hosts]  # type: ignore[arg-type]  # no owner
        for task in tasks:
            self.patience_s[task] = patience_s
            self.limiter.enter([task])
        return tasks

    def answer(self, *tasks: ImageTask) -> None:
        for task in tasks:
            self.limiter.report([(task, Answer.ANSWERED)])

    def fail(self, *tasks: ImageTask, retry_after_s: float | None = None) -> None:
        for task in tasks:
            self.limiter.report([(task, broken(retry_after_s))])

    def rest(self, host: str) -> None:
        """Have a host fail until it rests."""
        self.fail(*self.enter(*host * REST.failures))

    def going(self, tasks: Sequence[ImageTask]) -> str:
        return "".join(task.image for task in tasks if task in self.started)

    def is_clean(self, threads: int) -> bool:
        """Whether no host is remembered and all threads are free."""
        if len(self.limiter):
            return False
        tasks = self.enter(*map(str, range(threads + 1)))
        return [task in self.started for task in tasks] == [True] * threads + [False]


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("https://Example.com/cat.jpg", "https://example.com"),
        ("HTTPS://example.com?cat=1", "https://example.com"),
        ("http://example.com:8080#x", "http://example.com:8080"),
        ("http://[2001:db8::1]:80/cat", "http://[2001:db8::1]:80"),
        ("s3://pets/cats/1.jpg", "s3://pets"),
        ("redis://uploads/" + "0" * 64, None),
        ("file:///data/cat.jpg", None),
        ("file:/data/cat.jpg", None),
        ("data:image/png;base64,AAAA", None),
        ("DATA://example.com/,x", None),
        ("cat.jpg", None),
    ],
)
def test_a_uris_host_is_what_fails_together(uri: str, host: str | None) -> None:
    assert host_of(uri) == host


# --- shares ---


def test_a_lone_host_gets_three_quarters_of_the_threads_and_newcomers_start_at_once() -> None:
    bench = Bench(threads=32)
    assert bench.going(bench.enter(*"a" * 1000)) == "a" * 24
    assert bench.going(bench.enter(*"bcdefgh")) == "bcdefgh"


def test_slow_hosts_leave_each_other_a_share_and_the_last_thread_to_a_newcomer() -> None:
    bench = Bench(threads=8)
    held = bench.enter(*"a" * 50 + "b" * 50 + "c" * 50)
    assert Counter(bench.going(held)) == {"a": 6, "b": 1, "c": 1}
    # when those of the first end, the threads go round
    bench.answer(*bench.started[:6])
    running = Counter(bench.going(held)) - Counter({"a": 6})
    assert running.total() in (6, 7)
    assert max(running.values()) <= 3


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_threads_still_serve_everybody(threads: int) -> None:
    bench = Bench(threads=threads)
    tasks = bench.enter(*"aaabbbccc")
    for ended in range(9):
        assert 1 <= len(bench.started) - ended <= threads
        bench.answer(bench.started[ended])
    assert set(bench.started) == set(tasks)


def test_hosts_that_wait_are_served_in_turn() -> None:
    bench = Bench(threads=1)
    bench.enter(*"xaaaabbcc")
    for ended in range(8):
        bench.answer(bench.started[ended])
    assert bench.going(bench.started) == "xabcabcaa"


def test_a_bound_a_host_holds_where_the_share_would_allow_more() -> None:
    bench = Bench(threads=32, most_a_host=2)
    tasks = bench.enter(*"aaaabb")
    assert bench.going(tasks) == "aabb"
    bench.answer(tasks[0])
    assert tasks[2] in bench.started


def test_a_fetch_that_is_not_wanted_any_more_is_dropped_in_its_turn() -> None:
    # given so many that dropping each inside the call before would be too deep
    bench = Bench(threads=1)
    [first] = bench.enter("a")
    waiting = bench.enter(*"a" * 5000)
    [last] = bench.enter("a")
    bench.unwanted |= set(waiting)
    bench.answer(first)
    assert bench.started == [first, last]
    assert bench.dropped == dict.fromkeys(waiting)
    bench.answer(last)
    assert bench.is_clean(threads=1)


# --- rests ---


def test_a_host_that_fails_in_a_row_rests_and_others_go_on() -> None:
    bench = Bench()
    bench.rest("a")
    assert bench.going(bench.enter(*"aab")) == "b"
    assert bench.limiter.resting == 2
    assert bench.timer.due_in_s == [1.0]


def test_an_answer_in_between_starts_the_count_anew() -> None:
    bench = Bench()
    for _ in range(5):
        bench.fail(*bench.enter(*"a" * (REST.failures - 1)))
        bench.answer(*bench.enter("a"))
    assert bench.going(bench.enter("a")) == "a"
    assert bench.timer.due_in_s == []


def test_after_the_rest_one_tries_and_the_others_follow_its_success() -> None:
    bench = Bench()
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
    bench = Bench()
    bench.rest("a")
    held = bench.enter(*"a" * 50)
    bench.timer.advance(1.0)
    bench.answer(held[0])
    assert len(bench.going(held)) < 50
    assert bench.limiter.resting == 0


def test_a_trial_that_fails_doubles_the_rest_up_to_the_longest() -> None:
    bench = Bench()
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
    bench = Bench()
    bench.fail(*bench.enter(*"aaa"), retry_after_s=asked_s)
    assert bench.timer.due_in_s == [rest_s]


def test_when_nobody_waits_at_a_rests_end_the_next_to_come_tries() -> None:
    bench = Bench()
    bench.rest("a")
    bench.timer.advance(1.0)
    assert bench.going(bench.enter(*"aa")) == "a"


def test_a_trial_that_did_not_ask_the_host_hands_the_trial_on() -> None:
    bench = Bench()
    bench.rest("a")
    tasks = bench.enter(*"aaa")
    bench.timer.advance(1.0)
    bench.limiter.report([(tasks[0], Answer.NOT_ASKED)])
    assert [task in bench.started for task in tasks] == [True, True, False]


def test_those_who_went_before_the_rest_neither_lengthen_it_nor_count() -> None:
    # given three that fail and four that went with them
    bench = Bench()
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
    bench = Bench()
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
    bench = Bench(threads=8)
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
    bench = Bench()
    bench.rest("a")
    trial, _patient = bench.enter(*"aa")
    [hasty] = bench.enter("a", patience_s=1.5)
    bench.timer.advance(1.0)
    bench.fail(trial)
    assert (list(bench.dropped), bench.limiter.resting) == ([hasty], 1)


# --- memory ---


def test_a_host_in_order_that_nobody_visits_is_forgotten() -> None:
    bench = Bench()
    bench.answer(*bench.enter(*"abcabc"))
    assert bench.is_clean(threads=32)


def test_only_so_many_hosts_that_failed_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    # given room for ten, a host that rests, and one that is busy
    monkeypatch.setattr(host_limiter, "MOST_HOSTS", 10)
    bench = Bench()
    bench.rest("r")
    [busy] = bench.enter("busy")
    # when strangers name a hundred others
    for number in range(100):
        bench.fail(*bench.enter(f"host{number}"))
    # then the oldest are forgotten, but not the busy one
    assert len(bench.limiter) == 10
    bench.answer(busy)
    assert len(bench.limiter) == 9
    # and the end of the forgotten host's rest does not end a new one of the same name
    bench.timer.advance(0.9)
    bench.rest("r")
    [held] = bench.enter("r")
    bench.timer.advance(0.1)
    assert held not in bench.started
    bench.timer.advance(0.9)
    assert held in bench.started


def test_threads_may_share_it() -> None:
    # given fetches that end on threads of their own, and 8 threads that bring them
    bench = Bench(threads=4)
    ended = threading.Semaphore(0)

    def end(task: ImageTask) -> None:
        bench.answer(task)
        ended.release()

    bench.start = lambda tasks: [  # type: ignore[method-assign,assignment,return-value]
        threading.Thread(target=end, args=(task,)).start() for task in tasks
    ]
    threads = [threading.Thread(target=bench.enter, args=(name,) * 50) for name in "aabbccdd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(400):
        assert ended.acquire(timeout=20)
    # then every thread is free again
    del bench.start
    assert bench.is_clean(threads=4)
