"""Batches of images in the engine: buckets, bits and normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from support.image_zoo import pixels_of
from support.tiny_clip import tiny_engine
from support.watched_calls import watched_sizes
from torch.nn import functional

from clip_engine.engine import Engine
from clip_engine.errors import InputError
from clip_engine.images.normalisation import OPENAI_NORMALISATION

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("bucket", [1, 2, 4, 8])
def test_in_a_bucket_a_feature_is_the_same_bit_by_bit_whatever_its_neighbours(
    engine: Engine, threads: int, bucket: int
) -> None:
    # given an image, and batches that land in one bucket
    mine = pixels_of(engine, 1)[0]
    fewest = bucket // 2 + 1
    for place in {0, fewest - 1}:
        features = []
        for count, seed in ((bucket, 100), (bucket, 200), (fewest, 300)):
            # when it stands among others, or among others and padding
            batch = pixels_of(engine, count, seed)
            batch[place] = mine
            features.append(engine.encode_pixels(batch)[place])
        # then
        assert all(torch.equal(feature, features[0]) for feature in features)


@pytest.mark.parametrize("threads", [1], indirect=True)
@pytest.mark.parametrize("bucket", [2, 4, 8])
def test_with_one_torch_thread_the_place_in_the_batch_changes_no_bit_either(
    engine: Engine, threads: int, bucket: int
) -> None:
    # With more, a convolution's work is cut between images, and the cut shows in the last bit.
    features = engine.encode_pixels(pixels_of(engine, 1) * bucket)
    assert all(torch.equal(feature, features[0]) for feature in features)


@pytest.mark.parametrize("count", [0, 1, 3, 5, 8, 9, 19])
def test_any_number_of_pictures_gives_as_many_unit_features_in_order(
    engine: Engine, count: int
) -> None:
    pixels = pixels_of(engine, count)
    features = engine.encode_pixels(pixels)
    assert (features.shape, features.dtype) == ((count, 32), torch.float32)
    assert torch.allclose(features.norm(dim=-1), torch.ones(count), atol=1e-6)
    for index, picture in enumerate(pixels):
        alone = engine.encode_pixels([picture])[0]
        assert torch.allclose(features[index], alone, atol=1e-5)


def test_batches_are_cut_at_the_largest_bucket_and_padded_to_the_next(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = watched_sizes(monkeypatch, engine.model, "encode_image")
    # when
    for count in (1, 2, 3, 5, 8, 11, 17):
        engine.encode_pixels(pixels_of(engine, count))
    # then
    assert sizes == [1, 2, 4, 8, 8, 8, 4, 8, 8, 1]
    assert engine.max_batch == 8


def test_warming_on_a_cpu_runs_one_picture_for_a_size_needs_no_set_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = watched_sizes(monkeypatch, engine.model, "encode_image")
    engine.warm()
    assert sizes == [1]


def test_pixels_are_normalised_with_clips_mean_and_deviation(engine: Engine) -> None:
    [picture] = pixels_of(engine, 1)
    mean, std = np.array(OPENAI_NORMALISATION.mean), np.array(OPENAI_NORMALISATION.std)
    by_hand = torch.from_numpy(
        (picture.numpy().astype(np.float64) / 255 - mean[:, None, None]) / std[:, None, None]
    )
    with torch.inference_mode():
        expected = functional.normalize(engine.model.encode_image(by_hand[None].float()), dim=-1)
    assert torch.allclose(engine.encode_pixels([picture]), expected, atol=1e-5)


@pytest.mark.parametrize("buckets", [(), (0, 1), (4, 2), (2, 2)])
def test_buckets_that_are_no_ascending_batch_sizes_are_refused(buckets: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="ascending"):
        tiny_engine(buckets=buckets)
