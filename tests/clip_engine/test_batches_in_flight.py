"""Two batches in flight: what is enqueued and waited for, in which order, and where it fails."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.fake_device import LIMIT_S, FakeDevice
from support.image_zoo import pixels_of
from support.tiny_clip import tiny_engine

from clip_engine.acceleration import PLAIN, Acceleration
from clip_engine.errors import DeviceLostError
from clip_engine.inference import image_encoder
from clip_engine.inference.batches_in_flight import BatchesInFlight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from clip_engine.engine import Engine

CPU = torch.device("cpu")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """In place of the CPU's module."""
    fake = FakeDevice()
    monkeypatch.setattr(torch, "get_device_module", lambda _device: fake)
    return fake


def in_flight(encode: Any, most: int = 2) -> BatchesInFlight:
    return BatchesInFlight(encode, CPU, most=most, pinned=False)


def sums(pixels: Tensor) -> Tensor:
    """Features that tell images apart."""
    return pixels.float().sum(dim=(2, 3)) + 1


def images(*levels: int) -> list[Tensor]:
    """Images of one channel's level each; the others are black."""
    made = []
    for level in levels:
        image = torch.zeros(3, 2, 2, dtype=torch.uint8)
        image[0] = level
        made.append(image)
    return made


def expected(pixels: Sequence[Tensor]) -> Tensor:
    return torch.nn.functional.normalize(sums(torch.stack(list(pixels))), dim=-1)


def test_a_batch_is_uploaded_and_enqueued_while_the_one_before_is_waited_for(
    device: FakeDevice,
) -> None:
    # given a device whose batches take as long as the test wants
    device.hold = True
    batches = in_flight(sums)
    with ThreadPoolExecutor(2) as pool:
        # when two threads bring a batch each, the second while the first is waited for
        first = pool.submit(batches.run, images(1, 2), 2)
        assert device.waiting.acquire(timeout=LIMIT_S)
        second = pool.submit(batches.run, images(3), 1)
        assert device.waiting.acquire(timeout=LIMIT_S)
        # then all of the second was enqueued before anything of the first was known to be done
        log = list(device.log)
        device.finish("batch 2")
        assert torch.equal(second.result(LIMIT_S), expected(images(3)))
        device.finish("batch 1")
        assert torch.equal(first.result(LIMIT_S), expected(images(1, 2)))
    one, two = (
        [
            f"enqueued upload {number}",
            f"batch after upload {number}",
            f"enqueued batch {number}",
            f"wait for batch {number}",
        ]
        for number in (1, 2)
    )
    assert log == one + two


def test_buffers_are_used_again_only_when_their_batch_is_done(device: FakeDevice) -> None:
    # given two batches in flight, which is the most
    device.hold = True
    batches = in_flight(sums)
    with ThreadPoolExecutor(3) as pool:
        running = []
        for level in (1, 2):
            running.append(pool.submit(batches.run, images(level), 1))
            assert device.waiting.acquire(timeout=LIMIT_S)
        # when a third comes
        third = pool.submit(batches.run, images(3), 1)
        device.finish("batch 2")
        # then it takes the buffers of the first that is done
        assert device.waiting.acquire(timeout=LIMIT_S)
        assert device.log[-6:-1] == [
            "wait for batch 2",
            "batch 2 is done",
            "enqueued upload 2",
            "batch after upload 2",
            "enqueued batch 2",
        ]
        device.finish("batch 1")
        device.finish("batch 2")
        results = [future.result(LIMIT_S) for future in (*running, third)]
    for level, result in enumerate(results, start=1):
        assert torch.equal(result, expected(images(level)))


def test_a_batch_that_fails_gives_its_place_back_and_leaves_the_other_alone(
    device: FakeDevice,
) -> None:
    # given a batch in flight, and one that fails
    device.hold = True

    def encode(pixels: Tensor) -> Tensor:
        if len(pixels) == 4:
            raise torch.OutOfMemoryError
        return sums(pixels)

    batches = in_flight(encode)
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(batches.run, images(7), 1)
        assert device.waiting.acquire(timeout=LIMIT_S)
        # when it fails more often than there are places
        for _ in range(3):
            with pytest.raises(torch.OutOfMemoryError):
                batches.run(images(1, 2, 3, 4), 4)
        # then others still run
        half = pool.submit(batches.run, images(1, 2), 2)
        assert device.waiting.acquire(timeout=LIMIT_S)
        for number in range(1, 6):
            device.finish(f"batch {number}")
        assert torch.equal(half.result(LIMIT_S), expected(images(1, 2)))
        assert torch.equal(other.result(LIMIT_S), expected(images(7)))


def test_a_pause_waits_for_what_was_enqueued(device: FakeDevice) -> None:
    batches = in_flight(sums)
    with batches.paused():
        assert device.log == ["wait for everything"]
    batches.run(images(1), 1)
    assert "enqueued batch 1" in device.log


def test_where_page_locked_memory_cannot_be_had_one_warning_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    empty = torch.empty

    def refused(*args: Any, pin_memory: bool = False, **options: Any) -> Tensor:
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ...")
        return empty(*args, **options)

    monkeypatch.setattr(torch, "empty", refused)
    # when
    batches = BatchesInFlight(sums, CPU, most=2, pinned=True)
    results = [batches.run(images(level), 1) for level in (1, 2, 3)]
    # then
    assert torch.equal(torch.cat(results), expected(images(1, 2, 3)))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.text.rstrip().endswith(
        "Page-locked memory can't be allocated (CUDA error: out of memory), so transfers to cpu "
        "are slower; free some of the host's memory."
    )


# --- in the engine ---


@pytest.fixture
def as_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines treat the CPU as a GPU."""
    monkeypatch.setattr(image_encoder, "is_gpu", lambda _device: True)


def gpu_engine(**options: Any) -> Engine:
    acceleration = Acceleration.without(("cuda_graphs", "pinned_upload"))
    return tiny_engine(acceleration=acceleration, replicas=2, **options)


@pytest.mark.usefixtures("as_gpu")
def test_threads_get_their_own_features_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    # given batches of all sizes, and their features on the path of a CPU
    engine = gpu_engine(buckets=(1, 2, 4, 8))
    counts = [1, 3, 8, 11, 2, 5] * 5
    batches = [pixels_of(engine, count, seed=10 * i) for i, count in enumerate(counts)]
    with monkeypatch.context() as context:
        context.setattr(image_encoder, "is_gpu", lambda _device: False)
        alone = tiny_engine(acceleration=engine.acceleration, buckets=(1, 2, 4, 8))
    # when
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.encode_pixels, batches))
    # then
    for features, batch in zip(together, batches, strict=True):
        assert torch.equal(features, alone.encode_pixels(batch))


@pytest.mark.usefixtures("as_gpu")
def test_a_device_that_is_lost_while_its_batch_is_waited_for_is_reported(
    device: FakeDevice,
) -> None:
    engine = gpu_engine(buckets=(1, 2))
    device.fail_with = RuntimeError("CUDA error: an illegal memory access was encountered\n...")
    with pytest.raises(DeviceLostError, match="illegal memory access was encountered"):
        engine.encode_pixels(pixels_of(engine, 1))


@pytest.mark.parametrize("gpu", [False, True])
def test_padding_is_black_and_images_keep_their_order(
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,  # noqa: FBT001  # a case
) -> None:
    # given buffers that a full batch has used
    monkeypatch.setattr(image_encoder, "is_gpu", lambda _device: gpu)
    engine = tiny_engine(buckets=(4,), acceleration=PLAIN)
    engine.encode_pixels(pixels_of(engine, 4, seed=50))
    seen: list[Tensor] = []
    encode = engine.model.encode_image
    monkeypatch.setattr(
        engine.model, "encode_image", lambda x: (seen.append(x.clone()), encode(x))[1]
    )
    # when
    pixels = pixels_of(engine, 3)
    engine.encode_pixels(pixels)
    # then
    mean, std = engine.model.normalisation.mean, engine.model.normalisation.std
    raw = seen[0] * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    black = torch.zeros(1, *pixels[0].shape)
    wanted = torch.cat([torch.stack(pixels).float() / 255, black])
    assert torch.allclose(raw, wanted, atol=1e-5)
