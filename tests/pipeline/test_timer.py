"""Calls at their times, on one thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from worker.pipeline.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 20.0


class Bench:
    """A timer on a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timer = Timer(lambda: self.now_s)
        self.called: list[str] = []
        self.calls = threading.Semaphore(0)

    def after(self, seconds: float, name: str) -> None:
        def call() -> None:
            self.called.append(name)
            self.calls.release()

        self.timer.call_after(seconds, call)

    def move_to(self, now_s: float) -> None:
        """Move the clock; a call that is due then wakes the thread, which sleeps in real time."""
        self.now_s = now_s
        self.after(-1e9, "woken")
        self.wait()

    def wait(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.calls.acquire(timeout=LIMIT_S)


def threads() -> int:
    return [thread.name for thread in threading.enumerate()].count("timer")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.timer.stop()


def test_calls_come_in_the_order_of_their_times_and_not_before(bench: Bench) -> None:
    # given calls in another order than their times
    for seconds, name in ((3600.0, "c"), (1800.0, "a"), (1800.0, "b"), (7200.0, "d")):
        bench.after(seconds, name)
    bench.move_to(100.0 + 1799.0)
    assert bench.called == ["woken"]
    # when
    bench.move_to(100.0 + 3600.0)
    bench.wait(3)
    # then those at the same time come as they were asked for, and the last one not yet
    assert bench.called == ["woken", "woken", "a", "b", "c"]


def test_a_call_that_comes_first_now_does_not_wait_for_the_one_before(bench: Bench) -> None:
    bench.after(3600.0, "later")
    bench.after(0.0, "now")
    bench.wait()
    assert bench.called == ["now"]


def test_a_call_may_ask_for_another(bench: Bench) -> None:
    bench.timer.call_after(0.0, lambda: bench.after(0.0, "second"))
    bench.wait()
    assert bench.called == ["second"]


def test_a_call_that_fails_is_logged_and_the_next_one_comes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.timer.call_after(0.0, lambda: [int("none")])
    bench.after(0.0, "next")
    bench.wait()
    assert "A timed call failed" in caplog.text


def test_a_thread_is_there_from_the_first_call_to_the_stop_after_which_nothing_is_called() -> None:
    before = threads()
    bench = Bench()
    assert threads() == before
    bench.after(0.0, "before")
    bench.wait()
    assert threads() == before + 1
    bench.after(0.5, "never")
    bench.timer.stop()
    bench.after(0.0, "never")
    assert threads() == before
    assert bench.called == ["before"]
    bench.timer.stop()


def test_a_thread_that_cannot_be_started_is_tried_again_with_the_next_call(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as no_memory:
        no_memory.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            bench.after(0.0, "never")
    bench.after(0.0, "later")
    bench.wait()
    assert bench.called == ["later"]


def test_a_call_may_stop_the_timer(bench: Bench) -> None:
    stopped = threading.Event()

    def stop() -> None:
        bench.timer.stop()
        stopped.set()

    bench.timer.call_after(0.0, stop)
    assert stopped.wait(LIMIT_S)
