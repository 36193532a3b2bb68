"""The warm-up on a GPU: batch sizes are measured and graphs recorded; the CPU stands in for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.image_zoo import pixels_of
from support.tiny_clip import tiny_engine
from support.watched_calls import watched_sizes

from clip_engine.acceleration import PLAIN, Acceleration, cuda_graphs
from clip_engine.acceleration.cuda_graphs import BucketGraphs
from clip_engine.inference import image_encoder
from clip_engine.inference.buckets import buckets_up_to
from clip_engine.inference.warm_up import images_per_s, measure_sizes, smallest_good

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine

RATES = {32: 5e3, 64: 9e3, 128: 1.94e4, 256: 2e4, 512: 1.99e4}


class Recorded:
    """In place of a CUDA graph: replaying runs the forward pass."""

    most = 512  # larger ones don't fit
    error: Exception = torch.OutOfMemoryError()

    def __init__(self, forward: Any, pixels: Tensor, pool: object) -> None:
        del pool
        if len(pixels) > self.most:
            raise self.error
        self._forward = forward

    def replay(self, pixels: Tensor) -> Tensor:
        features: Tensor = self._forward(pixels)
        return features


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    """Lets engines treat the CPU as a GPU, but for CUDA's own part."""
    monkeypatch.setattr(image_encoder, "is_gpu", lambda _device: True)
    monkeypatch.setattr(image_encoder, "images_per_s", lambda _run, size, _wait: RATES[size])
    monkeypatch.setattr(cuda_graphs, "_Graph", Recorded)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "device", lambda _: torch.no_grad())
    monkeypatch.setattr(Recorded, "most", 512)  # so that tests may set it
    return Recorded


def gpu_engine(buckets: tuple[int, ...] | None = None, **options: Any) -> Engine:
    engine = tiny_engine(
        acceleration=Acceleration.without(("pinned_upload",)),
        buckets=buckets_up_to(512) if buckets is None else buckets,
        **options,
    )
    engine._images._measures = buckets is None
    return engine


@pytest.mark.usefixtures("recorded")
def test_the_largest_batch_is_the_smallest_that_is_nearly_as_fast_as_any() -> None:
    engine = gpu_engine()
    warm_up = engine.warm()
    assert engine.max_batch == 128
    assert warm_up.images_per_s == RATES
    assert warm_up.graphs == buckets_up_to(128)
    assert warm_up.seconds > 0


@pytest.mark.usefixtures("recorded")
def test_batches_that_were_asked_for_are_not_measured() -> None:
    engine = gpu_engine(buckets=(1, 4, 48))
    warm_up = engine.warm()
    assert (engine.max_batch, warm_up.graphs, warm_up.images_per_s) == (48, (1, 4, 48), {})


def test_a_size_that_does_not_fit_ends_measuring_and_lowers_the_limit(
    recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # given memory for 64 images
    monkeypatch.setattr(recorded, "most", 64)
    engine = gpu_engine()
    # when
    warm_up = engine.warm()
    # then one warning says so
    assert engine.max_batch == 64
    assert warm_up.images_per_s == {size: RATES[size] for size in (32, 64)}
    assert warm_up.graphs == buckets_up_to(64)
    assert caplog.messages == [
        "A batch of 128 images doesn't fit into the device's memory; the limit is now 64."
    ]


def test_graphs_that_do_not_fit_lower_the_limit_until_they_do(
    recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorded, "most", 10)
    engine = gpu_engine(buckets=(1, 2, 36))
    warm_up = engine.warm()
    assert (engine.max_batch, warm_up.graphs) == (9, (1, 2, 9))
    assert [message.rpartition(" ")[2] for message in caplog.messages] == ["18.", "9."]


def test_memory_that_ends_while_serving_drops_the_graphs(
    recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a warm engine, whose device then holds four images
    engine = gpu_engine(buckets=(1, 2, 4, 8))
    engine.warm()
    pixels = pixels_of(engine, 8)
    before = engine.encode_pixels(pixels)

    def replay(graph: Recorded, pixels: Tensor) -> Tensor:
        if len(pixels) > 4:
            raise torch.OutOfMemoryError
        return graph._forward(pixels)  # type: ignore[no-any-return]

    monkeypatch.setattr(recorded, "replay", replay)
    # when
    after = engine.encode_pixels(pixels)
    # then the features are there, and the memory of all graphs, which they share, is free
    assert torch.allclose(before, after, atol=1e-6)
    assert engine.max_batch == 4
    assert engine._images._graphs.sizes == ()


@pytest.mark.parametrize(
    "error",
    [RuntimeError("CUDA error: operation not permitted when stream is capturing"), None],
)
def test_graphs_that_cannot_be_recorded_cost_a_warning_and_no_more(
    recorded: type[Recorded],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception | None,
) -> None:
    # given recordings that fail, or replay something else than was recorded
    if error is None:
        monkeypatch.setattr(recorded, "replay", lambda _graph, pixels: torch.ones(len(pixels), 32))
    else:
        monkeypatch.setattr(recorded, "most", 0)
        monkeypatch.setattr(recorded, "error", error)
    engine, plain = gpu_engine(), tiny_engine(acceleration=PLAIN, buckets=buckets_up_to(512))
    # when
    warm_up = engine.warm()
    # then sizes were measured without them
    assert warm_up.graphs == ()
    assert (engine.max_batch, warm_up.images_per_s) == (128, RATES)
    # and one warning says why
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    reason = str(error) if error else "have a cosine of only"
    assert "CUDA graphs could not be recorded and are not used: " in caplog.text
    assert reason in caplog.text
    # and the forward pass runs as ever
    pixels = pixels_of(engine, 3)
    cosines = (engine.encode_pixels(pixels) * plain.encode_pixels(pixels)).sum(dim=-1)
    assert cosines.min() > 0.9999


def test_memory_that_ends_in_a_recording_counts_whatever_ending_the_recording_raises(
    recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(graphs: BucketGraphs, pixels: Tensor, _sizes: object) -> None:
        try:
            if len(pixels) > 2:
                raise torch.OutOfMemoryError  # as in torch.cuda.graph
        finally:
            if len(pixels) > 2:
                raise RuntimeError("CUDA error: operation failed due to a previous error")

    monkeypatch.setattr(BucketGraphs, "record", record)
    engine = gpu_engine(buckets=(1, 2, 8))
    engine.warm()
    assert engine.max_batch == 2


@pytest.mark.usefixtures("recorded")
def test_the_warm_up_allocates_the_buffers_of_all_batches_in_flight() -> None:
    engine = gpu_engine(buckets=(1, 8), replicas=2)
    engine.warm()
    batches = engine._images._in_flight
    assert batches is not None
    buffers = [batches._free.get_nowait() for _ in range(2)]
    assert [each and each.size for each in buffers] == [8, 8]


def test_on_a_cpu_nothing_is_measured_or_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine(acceleration=Acceleration())
    sizes = watched_sizes(monkeypatch, engine.model, "encode_image")
    warm_up = engine.warm()
    assert (sizes, warm_up.graphs, warm_up.images_per_s) == ([1], (), {})


# --- measuring ---


class Clock:
    """Seconds, as a test wants them."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_slow_device_is_not_given_sizes_that_would_take_too_long() -> None:
    # given a device that does 100 images a second at any size
    clock, asked = Clock(), []

    def rate(size: int) -> float:
        asked.append(size)
        clock.now_s += 10 * size / 100
        return 100.0

    # when there are 12 s: 3.2 s for the first, 6.4 s for the second, 12.8 s for the third
    rates = measure_sizes(rate, (32, 64, 128), longest_s=12.0, clock=clock)
    # then
    assert asked == [32, 64]
    assert rates == {32: 100.0, 64: 100.0}
    # and the first is measured however long it takes
    assert measure_sizes(rate, (32, 64), longest_s=0.0, clock=clock) == {32: 100.0}


@pytest.mark.parametrize(("run_s", "runs"), [(0.001, 22), (0.03, 5), (5.0, 3)])
def test_a_rate_is_measured_over_several_batches_enqueued_one_after_the_other(
    run_s: float, runs: int
) -> None:
    # given a device that computes while batches are enqueued, and is waited for
    clock, enqueued = Clock(), []

    def synchronize() -> None:
        clock.now_s = max(clock.now_s, run_s * len(enqueued))

    # when
    rate = images_per_s(lambda: enqueued.append(1), 64, synchronize, clock)
    # then
    assert rate == pytest.approx(64 / run_s)
    assert len(enqueued) == runs


@pytest.mark.parametrize(
    ("rates", "size"),
    [({32: 1.0}, 32), ({32: 94.0, 64: 100.0}, 64), ({32: 95.0, 64: 100.0}, 32), (RATES, 128)],
)
def test_the_smallest_good_size_reaches_95_percent_of_the_best_rate(
    rates: dict[int, float], size: int
) -> None:
    assert smallest_good(rates) == size
