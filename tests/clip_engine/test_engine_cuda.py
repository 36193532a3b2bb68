"""CUDA graphs and pinned upload: on a GPU if there is one, and what happens where they fail."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.image_zoo import pixels_of
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_engine
from support.watched_calls import watched_sizes

from clip_engine.acceleration import PLAIN, Acceleration, cuda_graphs
from clip_engine.acceleration.cuda_graphs import BucketGraphs

if TYPE_CHECKING:
    from torch import Tensor

    from clip_engine.engine import Engine

BUCKETS = (1, 2, 4, 8)
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="CUDA graphs need a GPU, and torch sees none"
)


# --- with a GPU ---


@pytest.fixture(params=[TINY_VIT, TINY_RESNET], ids=["ViT", "ResNet"])
def on_gpu(request: pytest.FixtureRequest) -> Any:
    """Makes engines of one model on the GPU, warmed."""

    def make(options: Acceleration) -> Engine:
        engine = tiny_engine(
            request.param,
            buckets=BUCKETS,
            acceleration=options,
            precision="float16",
            device=torch.device("cuda"),
        )
        engine.warm()
        return engine

    return make


@needs_cuda
def test_replayed_features_are_the_plain_paths(
    on_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, plain = on_gpu(Acceleration()), on_gpu(PLAIN)
    # a graph that is replayed calls no model
    called, called_plain = (
        watched_sizes(monkeypatch, engine.model, "encode_image") for engine in (fast, plain)
    )
    for count in (1, 3, 8, 11):
        pixels = pixels_of(fast, count)
        cosines = (fast.encode_pixels(pixels) * plain.encode_pixels(pixels)).sum(dim=-1)
        assert cosines.min() > 0.9999
    assert called == []
    assert called_plain == [1, 4, 8, 8, 4]


@needs_cuda
def test_on_a_gpu_neighbours_change_no_bit_either(on_gpu: Any) -> None:
    engine = on_gpu(Acceleration())
    [mine] = pixels_of(engine, 1)
    features = [
        engine.encode_pixels([mine, *pixels_of(engine, count, seed)])[0]
        for count, seed in ((7, 100), (7, 200), (4, 300))
    ]
    assert all(torch.equal(feature, features[0]) for feature in features)


@needs_cuda
def test_threads_that_replay_at_once_get_their_own_features(on_gpu: Any) -> None:
    engine = on_gpu(Acceleration())
    batches = [pixels_of(engine, count, seed) for seed in range(0, 400, 10) for count in (1, 5)]
    alone = [engine.encode_pixels(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(engine.encode_pixels, batches))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@needs_cuda
def test_labels_have_the_features_of_the_plain_path_on_a_cpu(on_gpu: Any) -> None:
    labels, templates = ["cat", "dog", "a very old tree", "a very old house"], ("a photo of a {}.",)
    engine = on_gpu(Acceleration())
    plain = tiny_engine(engine.model.clip.config, acceleration=PLAIN)
    expected = plain.labels.get(labels, templates)
    assert torch.allclose(engine.labels.get(labels, templates), expected, atol=1e-3)


# --- without one ---


class Recorded:
    """In place of a CUDA graph: what it replays is given."""

    output = torch.tensor([[1.0, 0.0]])

    def __init__(self, forward: Any, pixels: Tensor, pool: object) -> None:
        del forward, pixels, pool

    def replay(self, pixels: Tensor) -> Tensor:
        return self.output.expand(len(pixels), -1)


def forward(pixels: Tensor) -> Tensor:
    return torch.tensor([[0.0, 1.0]]).expand(len(pixels), -1)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    """CUDA's part, taken out."""
    monkeypatch.setattr(cuda_graphs, "_Graph", Recorded)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "device", lambda _: torch.no_grad())
    return Recorded


def batches(*sizes: int) -> list[Tensor]:
    return [torch.zeros(size, 3, 4, 4, dtype=torch.uint8) for size in sizes]


@pytest.mark.parametrize("output", [[1.0, 0.0], [float("nan"), 1.0], [0.02, 1.0]])
def test_a_graph_that_replays_something_else_is_not_used(
    recorded: type[Recorded],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    output: list[float],
) -> None:
    # given graphs whose features are others than the plain path's
    monkeypatch.setattr(recorded, "output", torch.tensor([output]))
    graphs = BucketGraphs(forward)
    # when
    graphs.record(batches(1, 2, 4))
    # then one warning says so, and the plain path runs
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "have a cosine of" in caplog.text
    assert torch.equal(graphs.run(batches(2)[0]), forward(batches(2)[0]))


def test_a_recording_that_fails_costs_a_warning_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", fail)
    graphs = BucketGraphs(forward)
    graphs.record(batches(1, 2))
    [message] = caplog.messages
    assert message.startswith("CUDA graphs could not be recorded and are not used: CUDA error: op")
    assert torch.equal(graphs.run(batches(2)[0]), forward(batches(2)[0]))


def test_only_sizes_that_were_recorded_are_replayed(
    recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given graphs that agree with the plain path, but for the length of their features
    monkeypatch.setattr(recorded, "output", torch.tensor([[0.0, 2.0]]))
    graphs = BucketGraphs(forward)
    graphs.record(batches(1, 4))
    assert [float(graphs.run(batch).max()) for batch in batches(1, 2, 4)] == [2.0, 1.0, 2.0]


@pytest.fixture
def uploaded(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The batches that are encoded, by a graph or without, as they are on the device."""
    batches: list[Tensor] = []
    run = BucketGraphs.run

    def watched(graphs: BucketGraphs, pixels: Tensor) -> Tensor:
        batches.append(pixels)
        return run(graphs, pixels)

    monkeypatch.setattr(BucketGraphs, "run", watched)
    return batches


def test_on_a_cpu_nothing_is_recorded_or_pinned(
    uploaded: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BucketGraphs, "record", lambda *_: pytest.fail("recorded on a CPU"))
    tiny_engine(acceleration=Acceleration()).warm()
    assert [batch.is_pinned() for batch in uploaded] == [False]


def test_padding_is_black_and_pictures_keep_their_order(uploaded: list[Tensor]) -> None:
    engine = tiny_engine(buckets=(4,), acceleration=Acceleration())
    pixels = pixels_of(engine, 3)
    engine.encode_pixels(pixels)
    [batch] = uploaded
    assert torch.equal(batch[:3], torch.stack(pixels))
    assert not batch[3].any()
