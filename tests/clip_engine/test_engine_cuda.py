"""The engine on a GPU, if there is one: features, threads, CUDA graphs and memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.image_zoo import pixels_of
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_engine
from support.watched_calls import watched_sizes

from clip_engine.acceleration import PLAIN, Acceleration

if TYPE_CHECKING:
    from clip_engine.engine import Engine

BUCKETS = (1, 2, 4, 8)
pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="these tests need a GPU, and torch sees none"
)
MIB = 1 << 20


@pytest.fixture(params=[TINY_VIT, TINY_RESNET], ids=["ViT", "ResNet"])
def on_gpu(request: pytest.FixtureRequest) -> Any:
    """Makes engines of one model on the GPU, warmed."""

    def make(options: Acceleration, buckets: tuple[int, ...] | None = BUCKETS) -> Engine:
        engine = tiny_engine(
            request.param,
            buckets=buckets,
            acceleration=options,
            precision="float16",
            device=torch.device("cuda"),
            replicas=2,
        )
        engine.warm()
        return engine

    return make


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


def test_on_a_gpu_neighbours_change_no_bit_either(on_gpu: Any) -> None:
    engine = on_gpu(Acceleration())
    [mine] = pixels_of(engine, 1)
    features = [
        engine.encode_pixels([mine, *pixels_of(engine, count, seed)])[0]
        for count, seed in ((7, 100), (7, 200), (4, 300))
    ]
    assert all(torch.equal(feature, features[0]) for feature in features)


def test_threads_that_replay_at_once_get_their_own_features(on_gpu: Any) -> None:
    engine = on_gpu(Acceleration())
    batches = [pixels_of(engine, count, seed) for seed in range(0, 400, 10) for count in (1, 5)]
    alone = [engine.encode_pixels(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(engine.encode_pixels, batches))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_labels_have_the_features_of_the_plain_path_on_a_cpu(on_gpu: Any) -> None:
    labels, templates = ["cat", "dog", "a very old tree", "a very old house"], ("a photo of a {}.",)
    engine = on_gpu(Acceleration())
    plain = tiny_engine(engine.model.clip.config, acceleration=PLAIN)
    expected = plain.labels.get(labels, templates)
    assert torch.allclose(engine.labels.get(labels, templates), expected, atol=1e-3)


def test_features_are_those_of_a_cpu_in_float32(on_gpu: Any) -> None:
    engine = on_gpu(Acceleration())
    exact = tiny_engine(engine.model.clip.config, acceleration=PLAIN)
    pixels = pixels_of(engine, 16)
    cosines = (engine.encode_pixels(pixels) * exact.encode_pixels(pixels)).sum(dim=-1)
    assert cosines.min() >= 0.9999


def test_the_warm_up_measures_batches_and_records_them(on_gpu: Any) -> None:
    engine = on_gpu(Acceleration(), buckets=None)
    warm_up = engine.warm()
    assert engine.max_batch in warm_up.images_per_s
    assert warm_up.graphs == tuple(size for size in engine.buckets if size <= engine.max_batch)


def test_nothing_waits_for_the_device_but_a_thread_for_its_own_batch(on_gpu: Any) -> None:
    engine = on_gpu(Acceleration())
    pixels = pixels_of(engine, 8)
    expected = engine.encode_pixels(pixels)
    torch.cuda.set_sync_debug_mode("error")  # torch's own waits raise; that for an event is not one
    try:
        features = engine.encode_pixels(pixels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(features, expected)


def test_two_engines_on_one_gpu_do_not_disturb_each_other(on_gpu: Any) -> None:
    engines = [on_gpu(Acceleration()) for _ in range(2)]
    batches = [pixels_of(engines[0], 1 + seed % 8, seed) for seed in range(60)]
    alone = [engines[0].encode_pixels(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(each.encode_pixels, batch) for batch in batches for each in engines]
        together = [call.result() for call in calls]
    for place in range(len(engines)):
        results = together[place :: len(engines)]
        assert all(torch.equal(a, b) for a, b in zip(alone, results, strict=True))


def test_a_gpu_that_runs_out_of_memory_gets_smaller_batches(on_gpu: Any) -> None:
    # given an engine that has not been warmed up, and memory for a part of its largest batch
    largest = 1 << 14
    engine = tiny_engine(
        on_gpu(PLAIN).model.clip.config, buckets=(1, largest), device=torch.device("cuda")
    )
    pixels = pixels_of(engine, 4) * 16
    expected = engine.encode_pixels(pixels[:1])
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties("cuda").total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 256 * MIB) / total)
    # when
    try:
        features = engine.encode_pixels(pixels)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    # then
    assert engine.max_batch < largest
    assert len(features) == len(pixels)
    assert (features[0] * expected[0]).sum() > 0.9999
