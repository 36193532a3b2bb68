"""Threads that run calls in turn."""

from __future__ import annotations

import threading
import weakref

import pytest

from worker.pipeline.thread_pool import Crew, CrewDismissedError

LIMIT_S = 20.0


def test_calls_are_run_in_turn_with_their_arguments() -> None:
    crew, seen = Crew(1, "crew"), []
    for number in range(5):
        crew.submit(seen.append, number)
    crew.shutdown()
    assert seen == [0, 1, 2, 3, 4]


def test_as_many_run_at_the_same_time_as_there_are_threads() -> None:
    crew, together = Crew(3, "crew"), threading.Barrier(4)
    for _ in range(3):
        crew.submit(together.wait, LIMIT_S)
    together.wait(LIMIT_S)
    crew.shutdown()


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(3)])
def test_a_call_that_fails_is_logged_and_ends_no_thread(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    crew, seen = Crew(1, "crew"), []
    crew.submit(fail)
    crew.submit(seen.append, 1)
    crew.shutdown()
    assert seen == [1]
    assert "A call failed" in caplog.text


def test_after_the_shutdown_nothing_is_taken() -> None:
    crew = Crew(2, "crew")
    crew.shutdown()
    with pytest.raises(CrewDismissedError):
        crew.submit(print)
    crew.shutdown()


def test_what_waits_is_dropped_where_that_is_wanted() -> None:
    # given a call that holds the only thread, and two behind it
    crew, seen = Crew(1, "crew"), []
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(LIMIT_S)
        seen.append("held")

    crew.submit(hold)
    crew.submit(seen.append, "never")
    crew.submit(seen.append, "never")
    assert begun.wait(LIMIT_S)
    # when
    crew.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    crew.shutdown()
    # then
    assert seen == ["held"]
    assert not any(thread.is_alive() for thread in crew._threads)


def test_a_crew_that_waits_holds_on_to_nothing() -> None:
    class Thing:
        def use(self) -> None: ...

    thing, done = Thing(), threading.Event()
    seen = weakref.ref(thing)
    crew = Crew(1, "crew")
    crew.submit(thing.use)
    crew.submit(done.set)
    assert done.wait(LIMIT_S)
    del thing
    assert seen() is None
    crew.shutdown()
