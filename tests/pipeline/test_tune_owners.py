"""How `clip-worker tune` feeds a pipeline: the rate, the latency and the features."""

from __future__ import annotations

import pytest
import torch
from support.pipeline_bench import LABELS, jpeg

from clip_worker.errors import ImageUnavailableError, ServiceError
from worker.cli.tune import owners
from worker.pipeline.image_task import TaggingRequest

REQUEST = TaggingRequest(LABELS, ("a photo of a {}.",), k=2)


def uris(bench, *pictures: object) -> list[str]:
    found = [f"https://example.org/{number}.jpg" for number in range(len(pictures))]
    bench.fetcher.pictures.update(zip(found, pictures, strict=True))
    return found


def test_features_are_the_engines_and_unreadable_images_are_left_out(bench, engine):
    pictures = [jpeg(1), ImageUnavailableError("gone", "FILE_NOT_FOUND"), b"no image", jpeg(2)]

    found = owners.features(
        bench.pipeline, uris(bench, *pictures), REQUEST, seconds=20.0, in_flight=3
    )

    assert found.count == 4
    assert sorted(found.failed) == [1, 2]
    assert found.failed[1] == "gone"
    expected = engine.encode_pixels([engine.prepare(pictures[index]) for index in (0, 3)])
    encoded = torch.tensor([found.embeddings[index] for index in (0, 3)])
    torch.testing.assert_close(encoded, expected)


def test_features_end_with_the_time_after_the_images_that_have_begun(bench):
    pictures = [jpeg(seed) for seed in range(5)]

    found = owners.features(
        bench.pipeline, uris(bench, *pictures), REQUEST, seconds=0.0, in_flight=2
    )

    assert (found.count, sorted(found.embeddings)) == (2, [0, 1])


def test_a_fault_of_the_worker_is_not_one_of_the_image(bench):
    bench.engine.fail_with = RuntimeError("the model gave NaN")
    images = uris(bench, jpeg(1))

    with pytest.raises(ServiceError, match="gave NaN"):
        owners.features(bench.pipeline, images, REQUEST, seconds=1.0, in_flight=1)
    with pytest.raises(ServiceError, match="gave NaN"):
        owners.one_by_one(bench.pipeline, images, REQUEST, seconds=0.0, least=1)
    with pytest.raises(ServiceError, match="gave NaN"):
        owners.full_queue(
            bench.pipeline,
            images,
            REQUEST,
            seconds=0.0,
            in_flight=1,
            begins=list,
            ends=lambda _: None,
        )


def test_single_images_run_alone(bench):
    images = uris(bench, jpeg(1), jpeg(2))

    latencies = owners.one_by_one(bench.pipeline, images, REQUEST, seconds=0.0, least=5)

    assert bench.engine.batches == 5 * [1]
    assert latencies == sorted(latencies)
    assert bench.fetcher.fetched == [images[number % 2] for number in range(5)]


def test_a_full_queue_is_kept_full_measured_and_abandoned(make):
    bench = make(single_flight=False)
    seen: list[object] = []

    rate = owners.full_queue(
        bench.pipeline,
        uris(bench, jpeg(1), jpeg(2)),
        REQUEST,
        seconds=0.0,
        in_flight=32,
        begins=lambda: seen.append(("begins", bench.pipeline.in_flight)),
        ends=lambda images: seen.append(("ends", images)),
    )

    (begins, in_flight), (ends, images) = seen
    assert (begins, ends) == ("begins", "ends")
    assert in_flight > 16
    assert images == rate.images > 0
    assert rate.seconds > 0
    assert bench.pipeline.in_flight == 0
    assert max(bench.engine.batches) == 8
