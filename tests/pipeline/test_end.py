"""Every image task ends: before a batch begins, when the pipeline stops, after fatal errors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support.pipeline_bench import LIMIT_S, NOW, SLOTS, Bench, FakeMessage, jpeg
from support.tiny_clip import tiny_engine

from worker.errors import ExpiredError, ImageInvalidError, ServiceError, TemporaryError
from worker.pipeline.fatal import Fatal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clip_engine.engine import Engine


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


# --- before a batch begins ---


def test_messages_are_begun_before_their_batch_and_what_may_not_run_is_not_encoded(
    make: Callable[..., Bench],
) -> None:
    # given messages, of which one is another worker's by now, and one is revoked
    asked: list[tuple[list[str], int | None]] = []

    def begin(messages: Any, together: int | None) -> Any:
        asked.append(([message.name for message in messages], together))
        return [message for message in messages if message.name == "ours"]

    bench = make(begin=begin)
    bench.engine.gate.clear()
    ours, others, revoked = FakeMessage("ours"), FakeMessage("others"), FakeMessage("revoked")
    first = bench.submit(jpeg(1), message=ours)
    assert bench.engine.begun.acquire(timeout=LIMIT_S)
    futures = [bench.submit(jpeg(1), message=each) for each in (ours, others, revoked)]
    while ours.progressed + others.progressed + revoked.progressed < 4:
        pass
    revoked.ended = True
    # when
    bench.engine.gate.set()
    # then
    assert first.exception(LIMIT_S) is None
    assert futures[0].exception(LIMIT_S) is None
    assert [future.exception(LIMIT_S).code for future in futures[1:]] == ["STOPPING", "REVOKED"]
    assert sum(bench.engine.batches) == 2
    assert asked[0] == (["ours"], None)
    assert sorted(name for names, _ in asked[1:] for name in names) == ["others", "ours", "revoked"]


def test_a_suspects_batch_is_begun_apart_and_no_longer_once_it_has_run(
    make: Callable[..., Bench],
) -> None:
    asked: list[int | None] = []

    def begin(messages: Any, together: int | None) -> Any:
        asked.append(together)
        return messages

    bench = make(begin=begin)
    suspect = FakeMessage(crashes=("once",))
    assert bench.submit(jpeg(1), message=suspect).exception(LIMIT_S) is None
    bench.close()
    assert asked == [1, None]


def test_a_deadline_that_passes_while_the_model_is_busy_ends_the_task(
    make: Callable[..., Bench],
) -> None:
    bench = make()
    bench.engine.gate.clear()
    first = bench.submit(jpeg(1))
    assert bench.engine.begun.acquire(timeout=LIMIT_S)
    late = bench.submit(jpeg(2), deadline=NOW + 5, message=(message := FakeMessage()))
    while not message.progressed:
        pass
    bench.now_s = NOW + 7.5
    bench.engine.gate.set()
    error = late.exception(LIMIT_S)
    assert isinstance(error, ExpiredError)
    assert "passed 2.5 s before it was encoded" in error.message
    assert first.exception(LIMIT_S) is None


def test_a_forward_pass_that_hangs_is_seen_and_waiting_for_redis_is_none(
    make: Callable[..., Bench],
) -> None:
    # given a Redis that is away as a batch begins
    asked, go_on = threading.Event(), threading.Event()

    def begin(messages: Any, together: int | None) -> Any:
        asked.set()
        assert go_on.wait(LIMIT_S)
        return messages

    bench = make(begin=begin)
    bench.engine.gate.clear()
    future = bench.submit(jpeg(1), message=FakeMessage())
    assert asked.wait(LIMIT_S)
    assert bench.pipeline.oldest_run_s() == 0
    # when it is there, and the model hangs
    go_on.set()
    assert bench.engine.begun.acquire(timeout=LIMIT_S)
    first = bench.pipeline.oldest_run_s()
    assert bench.pipeline.oldest_run_s() >= first > 0
    bench.engine.gate.set()
    assert future.exception(LIMIT_S) is None
    assert bench.pipeline.oldest_run_s() == 0


def test_every_slot_is_released_whatever_becomes_of_its_task(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.engine.gate.clear()
    futures = [bench.submit(jpeg(seed % 3)) for seed in range(60)]
    futures.append(bench.submit(b"no picture"))
    for _ in range(5):
        bench.pipeline.abandon()
        futures += [bench.submit(jpeg(1)) for _ in range(5)]
    bench.engine.gate.set()
    ends: list[object] = [future.exception(LIMIT_S) for future in futures]
    assert len(ends) == 86
    bench.pipeline.stop(LIMIT_S)
    bench.pool.close()
    assert sorted(bench.pool.free) == list(range(SLOTS))
    assert bench.pipeline.in_flight == 0


# --- the end ---


def test_drain_waits_for_what_is_in_flight_and_for_what_comes_meanwhile(
    make: Callable[..., Bench],
) -> None:
    # given a job that is held, and another that comes as soon as it has ended
    bench = make()
    bench.engine.gate.clear()
    followers = []
    first = bench.submit(jpeg(1))
    first.add_done_callback(lambda _: followers.append(bench.submit(jpeg(2))))
    # when
    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(bench.pipeline.drain, LIMIT_S)
        bench.engine.gate.set()
        # then
        assert drained.result(LIMIT_S) == 0
    assert [future.done() for future in (first, *followers)] == [True, True]


def test_drain_tells_how_many_are_left_when_its_time_is_up(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.engine.gate.clear()
    futures = [bench.submit(jpeg(seed)) for seed in range(3)]
    assert bench.pipeline.drain(0.0) == 3
    assert not any(future.done() for future in futures)
    bench.engine.gate.set()
    assert bench.pipeline.drain(LIMIT_S) == 0


def test_what_is_abandoned_ends_at_once_with_the_error_it_is_given(
    make: Callable[..., Bench],
) -> None:
    # given jobs in a batch that hangs
    bench = make()
    bench.engine.gate.clear()
    futures = [bench.submit(jpeg(seed)) for seed in range(3)]
    # when
    count = bench.pipeline.abandon(lambda task: TemporaryError(f"Not {task.key}.", "GIVEN_BACK"))
    # then
    assert count == 3
    assert [str(future.exception(0)) for future in futures] == ["Not 0.", "Not 1.", "Not 2."]
    assert bench.pipeline.in_flight == 0
    # and the batch that ends after all harms nothing
    bench.engine.gate.set()
    assert bench.submit(jpeg(4)).exception(LIMIT_S) is None
    assert bench.pipeline.abandon() == 0


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
    bench.engine.fail_with = gone
    bench.engine.gate.clear()
    futures += [bench.submit(jpeg(seed)) for seed in range(3)]
    # when
    bench.engine.gate.set()
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
    bench.engine.fail_with = ValueError("odd")
    assert type(bench.error(jpeg(1))) is ServiceError
    assert "alarm" not in caplog.text
    bench.engine.fail_with = DeviceGoneError()
    assert bench.error(jpeg(1)).code == "DEVICE_LOST"
    assert "The alarm about a fatal error failed" in caplog.text
    # and a bad picture is no batch's error
    assert type(bench.error(b"no picture")) is ImageInvalidError
