"""Every future ends: draining, abandoning, the gate before decoding, and fatal errors."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support.pipeline_bench import LIMIT_S, NOW, Bench, HoldingGate, jpeg
from support.tiny_clip import tiny_engine

from worker.errors import ExpiredError, ImageInvalidError, ServiceError, TemporaryError
from worker.pipeline.fatal import Fatal
from worker.pipeline.gate import OpenGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clip_engine.engine import Engine
    from worker.pipeline.gate import Go, Refuse
    from worker.pipeline.job import Job


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine(buckets=(8,))


@pytest.fixture
def make(engine: Engine) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(**collaborators: Any) -> Bench:
        made.append(Bench(engine, **collaborators))
        return made[-1]

    yield bench
    for each in made:
        each.close()


# --- the gate ---


def test_a_gate_gets_the_job_with_its_ticket_and_decides_when_it_is_decoded(
    make: Callable[..., Bench],
) -> None:
    # given two jobs whose bytes are there
    gate = HoldingGate()
    bench = make(gate=gate)
    first, second = (bench.submit(jpeg(1), ticket=ticket) for ticket in ("one", "two"))
    for _ in range(2):
        assert gate.came.acquire(timeout=LIMIT_S)
    assert (first.done(), second.done(), bench.batches) == (False, False, [])
    # when the second may go and the first may not
    gate.held["two"][1]()
    assert second.exception(LIMIT_S) is None
    assert not first.done()
    refusal = ServiceError("It killed three workers.", "POISON")
    gate.held["one"][2](refusal)
    # then
    assert first.exception(LIMIT_S) is refusal
    for _ in range(2):
        assert gate.went.acquire(timeout=LIMIT_S)
    assert gate.left == ["two", "one"]


def test_a_gate_hears_of_the_end_of_jobs_that_never_came_to_it(make: Callable[..., Bench]) -> None:
    gate = HoldingGate()
    bench = make(gate=gate)
    error = bench.error(jpeg(1), deadline=NOW - 1, ticket="late")
    assert isinstance(error, ExpiredError)
    assert gate.went.acquire(timeout=LIMIT_S)
    assert (gate.left, gate.held) == (["late"], {})


def test_what_a_gate_says_after_the_end_changes_nothing(make: Callable[..., Bench]) -> None:
    # given a job that was given up while it was held
    gate = HoldingGate()
    bench = make(gate=gate)
    future = bench.submit(jpeg(1), ticket="one")
    assert gate.came.acquire(timeout=LIMIT_S)
    assert bench.pipeline.abandon() == 1
    # when
    _, go, refuse = gate.held["one"]
    go()
    refuse(ServiceError("Too late.", "LATE"))
    bench.pools[1].shutdown(wait=True)
    # then it left once, and was not decoded
    error = future.exception(LIMIT_S)
    assert isinstance(error, TemporaryError)
    assert error.code == "STOPPING"
    assert gate.left == ["one"]
    assert bench.batches == []


def test_a_gate_that_fails_fails_the_job_it_was_asked_about(
    make: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def enter(self, job: Job, go: Go, refuse: Refuse) -> None:
            raise ZeroDivisionError

        def leave(self, job: Job) -> None:
            raise ZeroDivisionError

    bench = make(gate=Broken())
    assert type(bench.error(jpeg(1))) is ServiceError
    assert bench.pipeline.drain(LIMIT_S) == 0


def test_what_may_not_be_begun_any_more_is_neither_decoded_nor_run(
    make: Callable[..., Bench],
) -> None:
    # given a model at work, one picture that waits for it, and one whose bytes are there
    gate = HoldingGate()
    bench = make(gate=gate)
    bench.gate.clear()
    jobs = {ticket: bench.submit(jpeg(1), ticket=ticket) for ticket in ("runs", "waits", "held")}
    for _ in jobs:
        assert gate.came.acquire(timeout=LIMIT_S)
    for ticket in ("runs", "waits"):
        gate.held[ticket][1]()
        if ticket == "runs":
            assert bench.begun.acquire(timeout=LIMIT_S)
    while bench.batcher.is_idle:
        time.sleep(0.001)
    # when this is no longer to be begun
    refusal = TemporaryError("It is another worker's.", "STOPPING")
    gate.turned_away = dict.fromkeys(jobs, refusal)
    gate.held["held"][1]()
    assert jobs["held"].exception(LIMIT_S) is refusal
    bench.gate.set()
    # then only what ran already has come to an answer
    assert jobs["waits"].exception(LIMIT_S) is refusal
    assert jobs["runs"].exception(LIMIT_S) is None
    assert bench.batches == [1]


def test_a_deadline_that_passes_at_the_gate_ends_the_job_before_it_is_decoded(
    make: Callable[..., Bench],
) -> None:
    gate = HoldingGate()
    bench = make(gate=gate)
    future = bench.submit(b"never looked at", deadline=NOW + 5, ticket="one")
    assert gate.came.acquire(timeout=LIMIT_S)
    bench.now_s = NOW + 7.5
    gate.held["one"][1]()
    error = future.exception(LIMIT_S)
    assert isinstance(error, ExpiredError)
    assert "passed 2.5 s before its picture was decoded" in error.message


# --- how much is in hand ---


def test_jobs_are_in_flight_until_their_futures_end(make: Callable[..., Bench]) -> None:
    gate = HoldingGate()
    bench = make(gate=gate)
    assert bench.pipeline.in_flight == 0
    futures = [bench.submit(jpeg(1), ticket=str(ticket)) for ticket in range(3)]
    for _ in futures:
        assert gate.came.acquire(timeout=LIMIT_S)
    assert bench.pipeline.in_flight == 3
    for _, go, _ in gate.held.values():
        go()
    assert bench.pipeline.drain(LIMIT_S) == 0
    assert all(future.done() for future in futures)
    assert bench.pipeline.in_flight == 0


def test_a_decode_that_hangs_is_seen_and_counts_until_it_ends(
    make: Callable[..., Bench], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a decoder that hangs
    begun, go_on = threading.Event(), threading.Event()

    def hang(data: bytes, reserve: Any) -> Any:
        begun.set()
        assert go_on.wait(LIMIT_S)
        raise ZeroDivisionError

    bench = make()
    assert bench.pipeline.oldest_decode_s() == 0
    monkeypatch.setattr(engine, "prepare", hang)
    future = bench.submit(jpeg(1))
    assert begun.wait(LIMIT_S)
    # then it can be seen for as long as it does
    first = bench.pipeline.oldest_decode_s()
    assert bench.pipeline.oldest_decode_s() >= first >= 0
    assert len(bench.pipeline._line.tally.decoding) == 1
    go_on.set()
    assert isinstance(future.exception(LIMIT_S), ServiceError)
    assert bench.pipeline.oldest_decode_s() == 0


# --- the end ---


def test_drain_waits_for_what_is_in_flight_and_for_what_comes_meanwhile(
    make: Callable[..., Bench],
) -> None:
    # given a job that is held, and another that comes as soon as it has ended
    bench = make()
    bench.gate.clear()
    followers = []
    first = bench.submit(jpeg(1))
    first.add_done_callback(lambda _: followers.append(bench.submit(jpeg(2))))
    # when
    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(bench.pipeline.drain, LIMIT_S)
        bench.gate.set()
        # then
        assert drained.result(LIMIT_S) == 0
    assert [future.done() for future in (first, *followers)] == [True, True]


def test_drain_tells_how_many_are_left_when_its_time_is_up(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.gate.clear()
    futures = [bench.submit(jpeg(seed)) for seed in range(3)]
    assert bench.pipeline.drain(0.0) == 3
    assert not any(future.done() for future in futures)
    bench.gate.set()
    assert bench.pipeline.drain(LIMIT_S) == 0


def test_what_is_abandoned_ends_at_once_with_the_error_it_is_given(
    make: Callable[..., Bench],
) -> None:
    # given jobs in a batch that hangs
    bench = make()
    bench.gate.clear()
    futures = [bench.submit(jpeg(seed), ticket=seed) for seed in range(3)]
    # when
    count = bench.pipeline.abandon(lambda job: TemporaryError(f"Not {job.ticket}.", "GIVEN_BACK"))
    # then
    assert count == 3
    assert [str(future.exception(0)) for future in futures] == ["Not 0.", "Not 1.", "Not 2."]
    assert bench.pipeline.in_flight == 0
    # and the batch that ends after all harms nothing
    bench.gate.set()
    assert bench.submit(jpeg(4)).exception(LIMIT_S) is None
    assert bench.pipeline.abandon() == 0


def test_each_of_many_futures_ends_once_however_answer_and_abandonment_race(
    make: Callable[..., Bench],
) -> None:
    ended: list[object] = []
    left: list[Job] = []

    class Counting(OpenGate):
        def leave(self, job: Job) -> None:
            left.append(job)

    bench = make(gate=Counting())
    futures = [bench.submit(jpeg(seed % 3)) for seed in range(60)]
    for future in futures:
        future.add_done_callback(ended.append)
    while bench.pipeline.in_flight:
        bench.pipeline.abandon()
    assert all(future.done() for future in futures)
    assert bench.pipeline.drain(LIMIT_S) == 0
    assert (len(ended), len(left)) == (60, 60)


# --- fatal errors ---


class DeviceGoneError(Exception):
    """What a driver says when its device is gone."""


def test_a_fatal_error_raises_the_alarm_once_before_any_caller_hears_of_it(
    make: Callable[..., Bench],
) -> None:
    # given three pictures in one batch
    futures: list[Any] = []
    heard: list[tuple[BaseException, list[bool]]] = []

    def alarm(error: BaseException) -> None:
        heard.append((error, [future.done() for future in futures]))

    bench = make(fatal=Fatal(lambda error: isinstance(error, DeviceGoneError), alarm))
    gone = DeviceGoneError("Xid 79")
    bench.fail_with = gone
    bench.gate.clear()
    futures += [bench.submit(jpeg(seed)) for seed in range(3)]
    # when
    bench.gate.set()
    errors = [future.exception(LIMIT_S) for future in futures]
    # then
    assert heard == [(gone, [False, False, False])]
    assert {(type(error), error.code) for error in errors} == {(TemporaryError, "DEVICE_LOST")}


def test_other_errors_raise_no_alarm_and_an_alarm_that_fails_leaves_nobody_waiting(
    make: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    def alarm(error: BaseException) -> None:
        raise ZeroDivisionError

    bench = make(fatal=Fatal(lambda error: isinstance(error, DeviceGoneError), alarm))
    bench.fail_with = ValueError("odd")
    assert type(bench.error(jpeg(1))) is ServiceError
    assert "alarm" not in caplog.text
    bench.fail_with = DeviceGoneError()
    assert bench.error(jpeg(1)).code == "DEVICE_LOST"
    assert "The alarm about a fatal error failed" in caplog.text
    # and a bad picture is no batch's error
    assert type(bench.error(b"no picture")) is ImageInvalidError
