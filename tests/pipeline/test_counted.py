"""What a pipeline counts: images by outcome, stages, batches and why they ran, further attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.held_batcher import Held
from support.pipeline_bench import LIMIT_S, Bench, FakeMessage, jpeg

from clip_worker.errors import ImageUnavailableError, TemporaryError
from worker.metrics.instruments import Instruments
from worker.pipeline.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Shown = dict[tuple[str, ...], float]


def shown(instruments: Instruments) -> Shown:
    """Values by name and labels' values, without the prefix; what is 0 is left out."""
    return {
        (sample.name.removeprefix("clip_worker_"), *sample.labels.values()): sample.value
        for family in instruments.registry.collect()
        for sample in family.samples
        if sample.value
    }


def test_images_are_counted_by_how_they_end(make: Callable[..., Bench]) -> None:
    instruments = Instruments()
    bench = make(instruments=instruments)
    done = [bench.submit(jpeg(seed)) for seed in range(3)]
    bench.error(ImageUnavailableError("It is not there.", "FETCH_404"))
    for future in done:
        future.result(LIMIT_S)
    found = shown(instruments)
    assert found["images_total", "succeeded", ""] == 3
    assert found["images_total", "failed", "FETCH_404"] == 1
    assert found["batch_images_sum",] == 3
    assert found["stage_seconds_count", "decode"] == 3
    assert ("stage_seconds_count", "queue") not in found  # the producer sent no time


def test_images_that_another_worker_is_to_do_are_requeued(make: Callable[..., Bench]) -> None:
    instruments = Instruments()
    bench = make(instruments=instruments)
    bench.engine.gate.clear()
    future = bench.submit(jpeg(1))
    assert bench.engine.begun.acquire(timeout=LIMIT_S)
    bench.pipeline.abandon()
    assert future.exception(LIMIT_S)
    assert shown(instruments)["images_total", "requeued", "STOPPING"] == 1


def test_further_attempts_are_counted_by_what_failed(make: Callable[..., Bench]) -> None:
    instruments = Instruments()
    retry = RetryPolicy(attempts=3)
    bench = make(instruments=instruments, retry=retry, draw=lambda: 0.0)
    bench.error(TemporaryError("It is busy.", "FETCH_503"))
    assert shown(instruments)["fetch_retries_total", "FETCH_503"] == 2  # after the first attempt


@pytest.fixture
def hold() -> Iterator[Callable[..., Held]]:
    made: list[Held] = []

    def held(**options: Any) -> Held:
        made.append(Held(**options))
        return made[-1]

    yield held
    for each in made:
        each.close()


def test_a_batch_says_why_it_runs(hold: Callable[..., Held]) -> None:
    held = hold(max_batch=2)
    held.add("a")
    assert held.batch().reason == "idle"
    held.add("bcd")
    held.end()
    assert held.batch().reason == "full"
    held.end()
    assert held.batch().reason == "idle"
    held.add("s", message=FakeMessage(crashes=("once",)))
    held.end()
    assert held.batch().reason == "alone"
    held.end()


def test_a_batch_that_waited_says_for_what(hold: Callable[..., Held]) -> None:
    held = hold(max_batch=8, max_wait_s=10.0)
    assert held.waits_after("a")
    held.now_s += 10.0
    held.add("b")
    assert held.batch().reason == "waited"
    held.end()
    assert held.waits_after("c")
    held.add("d", within_s=-5.0)
    assert held.batch().reason == "deadline"
    held.end()
