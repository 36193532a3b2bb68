"""Every image task ends: before a batch begins, when the pipeline stops, after fatal errors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from support.pipeline_bench import LIMIT_S, NOW, SLOTS, Bench, FakeMessage, jpeg

from clip_engine.errors import DeviceLostError
from clip_worker.errors import ExpiredError, ImageInvalidError, ServiceError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable


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
    for message in (ours, ours, others, revoked):
        assert message.progressed.acquire(timeout=LIMIT_S)
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


def test_a_deadline_that_passes_while_the_model_is_busy_ends_the_task(bench: Bench) -> None:
    bench.engine.gate.clear()
    first = bench.submit(jpeg(1))
    assert bench.engine.begun.acquire(timeout=LIMIT_S)
    late = bench.submit(jpeg(2), deadline=NOW + 5, message=(message := FakeMessage()))
    assert message.progressed.acquire(timeout=LIMIT_S)
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


def test_every_slot_is_released_whatever_becomes_of_its_task(bench: Bench) -> None:
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


def test_drain_waits_for_what_is_in_flight_and_for_what_comes_meanwhile(bench: Bench) -> None:
    # given a task that is held, and another that comes as soon as it has ended
    bench.engine.gate.clear()
    followers = []
    first = bench.submit(jpeg(1))
    first.add_done_callback(lambda _: followers.append(bench.submit(jpeg(2))))
    assert bench.pipeline.drain(0.0) == 1
    # when
    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(bench.pipeline.drain, LIMIT_S)
        bench.engine.gate.set()
        # then
        assert drained.result(LIMIT_S) == 0
    assert [future.done() for future in (first, *followers)] == [True, True]


def test_what_is_abandoned_ends_at_once(bench: Bench) -> None:
    # given tasks in a batch that hangs
    bench.engine.gate.clear()
    futures = [bench.submit(jpeg(seed)) for seed in range(3)]
    # when
    assert bench.pipeline.abandon() == 3
    # then
    assert {future.exception(0).code for future in futures} == {"STOPPING"}
    assert bench.pipeline.in_flight == 0
    # and the batch that ends after all harms nothing
    bench.engine.gate.set()
    assert bench.submit(jpeg(4)).exception(LIMIT_S) is None
    assert bench.pipeline.abandon() == 0


# --- a lost device ---


def test_a_lost_device_raises_the_alarm_before_any_caller_hears_of_it(
    make: Callable[..., Bench],
) -> None:
    futures: list[Any] = []
    heard: list[tuple[BaseException, list[bool]]] = []

    def alarm(error: BaseException) -> None:
        heard.append((error, [future.done() for future in futures]))

    bench = make(device_lost=alarm)
    # given other failures, which raise none
    bench.engine.fail_with = ValueError("odd")
    assert type(bench.error(jpeg(1))) is ServiceError
    assert type(bench.error(b"no picture")) is ImageInvalidError
    assert heard == []
    # when
    gone = bench.engine.fail_with = DeviceLostError("Xid 79")
    bench.engine.gate.clear()
    futures += [bench.submit(jpeg(seed)) for seed in range(3)]
    bench.engine.gate.set()
    errors = [future.exception(LIMIT_S) for future in futures]
    # then
    assert heard[0] == (gone, [False, False, False])
    assert {(type(error), error.code) for error in errors} == {(TemporaryError, "DEVICE_LOST")}


def test_a_suspect_that_loses_the_device_is_still_noted_as_alone_when_the_process_ends(
    make: Callable[..., Bench],
) -> None:
    noted: list[int | None] = []
    noted_at_the_end: list[list[int | None]] = []

    def begin(messages: Any, together: int | None) -> Any:
        noted.append(together)
        return messages

    bench = make(begin=begin, device_lost=lambda _error: noted_at_the_end.append(list(noted)))
    bench.engine.fail_with = DeviceLostError("Xid 79")

    bench.error(jpeg(1), message=FakeMessage(crashes=("a crash",)))

    assert noted_at_the_end == [[1]]
