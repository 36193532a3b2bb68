"""Attempts at a picture: what is tried again, when, and what ends it. Time is moved by the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.fake_timer import FakeTimer
from support.pipeline_bench import LABELS, LIMIT_S, Bench, jpeg

from clip_worker.contract import LabelSet
from clip_worker.errors import (
    ClipWorkerError,
    ExpiredError,
    ImageUnavailableError,
    InvalidRequestError,
    QueueUnavailableError,
    TemporaryError,
)
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from clip_engine.engine import Engine

POLICY = RetryPolicy(attempts=4, base_s=1.0, factor=2.0, longest_s=20.0, total_s=60.0)
BAD = "https://bad.example/"
GOOD = "https://good.example/"


class Stage(Bench):
    """A pipeline whose timer, jitter and hosts are the test's; attempts run on real threads."""

    def __init__(self, engine: Engine, rest: RestPolicy | None = None, **options: Any) -> None:
        self.timer = FakeTimer()
        never = RestPolicy(failures=1_000_000)
        super().__init__(
            engine,
            timer=self.timer,
            rest=rest or never,
            retry=POLICY,
            draw=lambda: 1.0,
            **options,
        )
        self.scripts: dict[str, list[bytes | BaseException]] = {}
        self.fetcher.fetch = self._fetch

    def _fetch(self, uri: str, reserve: Any) -> bytes:
        self.fetcher.fetched.append(uri)
        script = self.scripts[uri]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def ask(self, uri: str, *script: bytes | BaseException, **changes: Any) -> Future[Any]:
        """Submit a picture whose attempts go as scripted, the last one ever after."""
        self.scripts[uri] = list(script)
        return self.job(uri, **changes)

    def settle(self, waiting: int) -> None:
        """Wait until so many calls wait on the timer."""
        with self.timer.changed:
            assert self.timer.changed.wait_for(lambda: len(self.timer.due_in_s) == waiting, LIMIT_S)

    def error_of(self, future: Future[Any]) -> ClipWorkerError:
        error = future.exception(LIMIT_S)
        assert isinstance(error, ClipWorkerError), error
        return error


def timed_out() -> TemporaryError:
    return TemporaryError("The server did not deliver in time.", "FETCH_TIMEOUT")


def refused(retry_after_s: float | None = None) -> TemporaryError:
    error = TemporaryError("The server answered with status 503.", "FETCH_503")
    error.retry_after_s = retry_after_s
    return error


# --- what is tried again ---


def test_a_picture_that_fails_twice_for_now_is_fetched_with_growing_pauses(
    make: Callable[..., Stage],
) -> None:
    stage = make(Stage)
    future = stage.ask(GOOD, timed_out(), refused(), jpeg(1))
    # then it waits for the next attempt, on no thread
    stage.settle(1)
    assert (stage.timer.due_in_s, stage.pipeline.resting) == ([1.0], 1)
    stage.timer.advance(1.0)
    stage.settle(1)
    assert stage.timer.due_in_s == [2.0]
    stage.timer.advance(2.0)
    result = future.result(LIMIT_S)
    assert stage.fetcher.fetched == [GOOD] * 3
    # and the time for it counts as its fetch's
    assert result.timing.fetch == pytest.approx(3.0, abs=0.01)
    assert stage.pipeline.resting == 0


@pytest.mark.parametrize(
    "answer",
    [
        ImageUnavailableError("There is none.", "FETCH_404"),
        InvalidRequestError("It is no URI.", "BAD_URI"),
        ZeroDivisionError("a bug"),
        b"<html>",
    ],
)
def test_what_will_not_pass_fails_at_once(
    make: Callable[..., Stage], answer: bytes | BaseException
) -> None:
    stage = make(Stage)
    stage.error_of(stage.ask(BAD, answer))
    assert stage.fetcher.fetched == [BAD]
    assert stage.timer.due_in_s == []


def test_after_the_last_attempt_the_error_says_how_often_and_keeps_its_code(
    make: Callable[..., Stage],
) -> None:
    stage = make(Stage)
    future = stage.ask(BAD, timed_out())
    for pause_s in (1.0, 2.0, 4.0):
        stage.settle(1)
        assert stage.timer.due_in_s == [pause_s]
        stage.timer.advance(pause_s)
    error = stage.error_of(future)
    assert (type(error), error.code) == (TemporaryError, "FETCH_TIMEOUT")
    assert error.message == ("The server did not deliver in time. It was tried 4 times in 7.0 s.")


def test_no_attempt_starts_after_the_bound(make: Callable[..., Stage]) -> None:
    # given a server that takes 50 s to fail
    stage = make(Stage)
    future = stage.ask(BAD, refused(20.0), refused(20.0), refused(20.0))
    stage.settle(1)
    stage.timer.advance(21.0)
    stage.settle(1)
    stage.timer.advance(22.0)
    error = stage.error_of(future)
    assert "It was tried 3 times in 43.0 s; the server asks to wait 20 s" in error.message


# --- deadlines ---


def test_a_pause_that_would_pass_the_deadline_is_not_begun(make: Callable[..., Stage]) -> None:
    stage = make(Stage)
    error = stage.error_of(stage.ask(BAD, refused(10.0), deadline=stage.now_s + 9))
    assert error.code == "FETCH_503"
    assert "longer than the task's deadline" in error.message
    assert stage.timer.due_in_s == []


def test_a_task_that_expires_in_its_pause_is_not_fetched_again(
    make: Callable[..., Stage],
) -> None:
    stage = make(Stage)
    future = stage.ask(BAD, refused(), deadline=stage.now_s + 5)
    stage.settle(1)
    # when the wall clock jumps while it waits
    stage.now_s += 6.5
    stage.timer.advance(1.0)
    error = stage.error_of(future)
    assert isinstance(error, ExpiredError)
    assert "passed 1.5 s before it was tried again" in error.message
    assert stage.fetcher.fetched == [BAD]


# --- label sets ---


class Shelf:
    """Label sets behind a Redis that fails a given number of times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked: list[str] = []

    def get(self, name: str) -> LabelSet:
        self.asked.append(name)
        if len(self.asked) <= self.failures:
            raise QueueUnavailableError("The label set can't be read.")
        if name != "pets":
            raise InvalidRequestError(f"There is no label set {name}.", "UNKNOWN_LABEL_SET")
        return LabelSet(labels=LABELS)


def test_a_label_set_that_can_not_be_read_for_now_is_read_again(
    make: Callable[..., Stage],
) -> None:
    shelf = Shelf(failures=1)
    stage = make(Stage, label_sets=shelf)
    future = stage.ask(GOOD, timed_out(), jpeg(1), labels=(), label_set="pets")
    stage.settle(1)
    assert stage.fetcher.fetched == []
    stage.timer.advance(1.0)
    stage.settle(1)
    stage.timer.advance(2.0)
    assert {p.label for p in future.result(LIMIT_S).predictions} == set(LABELS)
    # and once it was read it is not read again for the next attempt
    assert shelf.asked == ["pets"] * 2
    assert stage.fetcher.fetched == [GOOD] * 2


def test_a_label_set_that_is_not_there_fails_at_once_and_costs_no_fetch(
    make: Callable[..., Stage],
) -> None:
    stage = make(Stage, label_sets=Shelf(failures=0))
    error = stage.error_of(stage.ask(GOOD, jpeg(1), labels=(), label_set="cars"))
    assert (type(error), error.code) == (InvalidRequestError, "UNKNOWN_LABEL_SET")
    assert stage.fetcher.fetched == []


# --- hosts ---


def test_a_resting_hosts_jobs_wait_for_one_trial_and_others_go_on(
    make: Callable[..., Stage],
) -> None:
    # given a host that has failed twice in a row
    stage = make(Stage, rest=RestPolicy(failures=2, first_s=1.5))
    bad = [stage.ask(f"{BAD}{i}", timed_out(), jpeg(i)) for i in range(2)]
    stage.settle(3)  # two pauses and a rest
    # when more pictures come
    later = [stage.ask(f"{BAD}later{i}", jpeg(i)) for i in range(3)]
    good = [stage.ask(f"{GOOD}{i}", jpeg(i)) for i in range(6)]
    assert [future.exception(LIMIT_S) for future in good] == [None] * 6
    assert stage.pipeline.resting == 5
    # then none of the bad host's is fetched before its rest is over
    stage.timer.advance(1.0)
    assert len([uri for uri in stage.fetcher.fetched if uri.startswith(BAD)]) == 2
    assert stage.pipeline.resting == 5
    stage.timer.advance(0.5)
    assert [future.exception(LIMIT_S) for future in [*bad, *later]] == [None] * 5
    assert stage.pipeline.resting == 0
    assert stage.pipeline.preparation_s < 1


def test_a_404_is_an_answer_and_gives_no_host_a_rest(make: Callable[..., Stage]) -> None:
    stage = make(Stage, rest=RestPolicy(failures=2))
    for i in range(5):
        gone = ImageUnavailableError("There is none.", "FETCH_404")
        stage.error_of(stage.ask(f"{BAD}{i}", gone))
    assert stage.ask(f"{BAD}there", jpeg(1)).exception(LIMIT_S) is None
    assert stage.timer.due_in_s == []


def test_a_job_that_can_not_wait_for_the_rests_end_fails_with_the_hosts_error(
    make: Callable[..., Stage],
) -> None:
    stage = make(Stage, rest=RestPolicy(failures=1, first_s=30.0))
    held = stage.ask(f"{BAD}1", timed_out())
    stage.settle(2)
    error = stage.error_of(stage.ask(f"{BAD}2", jpeg(1), deadline=stage.now_s + 29))
    assert (type(error), error.code) == (TemporaryError, "FETCH_TIMEOUT")
    assert "its host keeps failing (FETCH_TIMEOUT) and will not be asked again" in error.message
    assert "it waited 0.0 s and was not tried" in error.message
    assert "https://bad.example/2" in error.message
    assert stage.fetcher.fetched == [f"{BAD}1"]
    assert not held.done()


# --- the end ---


def test_what_waits_for_its_next_attempt_can_be_given_up(make: Callable[..., Stage]) -> None:
    # given one that waits for its attempt, and one for its host
    stage = make(Stage, rest=RestPolicy(failures=1, first_s=5.0))
    futures = [stage.ask(f"{BAD}1", timed_out(), jpeg(1))]
    stage.settle(2)
    futures.append(stage.ask(f"{BAD}2", jpeg(1)))
    assert stage.pipeline.in_flight == 2
    # when
    assert stage.pipeline.stop() == 2
    # then both have ended, and their times come to nothing
    assert [stage.error_of(future).code for future in futures] == ["STOPPING"] * 2
    stage.timer.advance(10.0)
    assert stage.fetcher.fetched == [f"{BAD}1"]


def test_after_the_stop_a_job_ends_at_once(make: Callable[..., Stage]) -> None:
    stage = make(Stage)
    assert stage.pipeline.stop() == 0
    error = stage.error_of(stage.ask(GOOD, jpeg(1)))
    assert (type(error), error.code) == (TemporaryError, "STOPPING")
    assert stage.pipeline.in_flight == 0
    assert stage.fetcher.fetched == []
