"""A device that runs out of memory, and one that is gone: injected, neither comes when called."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.image_zoo import photo, pixels_of
from support.tiny_clip import tiny_engine
from support.watched_calls import watched_sizes

from clip_engine.errors import ClipEngineError, DeviceLostError
from clip_engine.inference.device_errors import device_losses, is_device_lost, is_out_of_memory
from clip_engine.inference.memory_limit import BatchLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
# As torch 2.11 to 2.15 word them.
LOST = (
    "CUDA error: device-side assert triggered",
    "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be asynchronous",
    "CUDA error: unspecified launch failure",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
)
OUT_OF_MEMORY_WORDS = (
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
)
ELSEWHERE = ("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", "out of memory of names")


def hold_at_most(
    monkeypatch: pytest.MonkeyPatch, model: Any, rows: int, encode: str = "encode_image"
) -> list[int]:
    """Let the tower fail above so many rows; gives the list of sizes that it is asked for."""
    original = getattr(model, encode)

    def forward(batch: Tensor, **options: bool) -> Any:
        if len(batch) > rows:
            raise OUT_OF_MEMORY
        return original(batch, **options)

    monkeypatch.setattr(model, encode, forward)
    return watched_sizes(monkeypatch, model, encode)


# --- out of memory ---


def test_a_batch_that_doesnt_fit_is_halved_and_its_size_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # given a device that holds three images
    engine = tiny_engine(buckets=(1, 2, 4, 8))
    pixels = pixels_of(engine, 11)
    expected = engine.encode_pixels(pixels)
    asked = hold_at_most(monkeypatch, engine.model, 3)
    # when
    features = engine.encode_pixels(pixels)
    # then all come out, in order
    assert asked == [8, 4, 2, 2, 2, 2, 2, 1]
    assert torch.allclose(features, expected, atol=1e-6)
    # and the size is remembered, and told once for each time it fell
    assert engine.max_batch == 2
    asked.clear()
    engine.encode_pixels(pixels)
    assert asked == [2, 2, 2, 2, 2, 1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages[-1] == (
        "A batch of 4 images doesn't fit into the device's memory; the limit is now 2."
    )


def test_a_half_that_is_no_bucket_becomes_a_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine(buckets=(8,))
    pixels = pixels_of(engine, 5)
    expected = engine.encode_pixels(pixels)
    asked = hold_at_most(monkeypatch, engine.model, 5)
    assert torch.allclose(engine.encode_pixels(pixels), expected, atol=1e-6)
    assert asked == [8, 4, 4]


def test_a_single_picture_that_doesnt_fit_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine()
    pixels = pixels_of(engine, 1)
    hold_at_most(monkeypatch, engine.model, 0)
    with pytest.raises(ClipEngineError, match=r"batch of 1 of the images doesn't fit .*; free"):
        engine.encode_pixels(pixels)


def test_long_lists_of_prompts_are_halved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [f"label {index}" for index in range(300)]
    expected = tiny_engine().labels.get(labels, ("{}",))
    engine = tiny_engine()
    asked = hold_at_most(monkeypatch, engine.texts, 150, "encode_tokens")
    assert torch.allclose(engine.labels.get(labels, ("{}",)), expected, atol=1e-6)
    assert asked == [256, 128, 128, 44]


def test_a_thread_that_fails_late_does_not_raise_the_limit_again() -> None:
    # given a run that is under way at 8 while another learns that only 2 fit
    limit = BatchLimit(8, "images")
    rows = list(torch.zeros(8, 1))
    tries: list[int] = []

    def inner(chunk: Any, _: int) -> Tensor:
        tries.append(len(chunk))
        if len(chunk) > 2:
            raise OUT_OF_MEMORY
        return torch.stack(chunk)

    def outer(chunk: Any, _: int) -> Tensor:
        if len(chunk) > 2:
            limit.run(rows, inner)
            raise OUT_OF_MEMORY
        return torch.stack(chunk)

    # when
    done = limit.run(rows, outer)
    # then
    assert tries == [8, 4, 2, 2, 2, 2]
    assert (limit.largest, sum(map(len, done))) == (2, 8)


class Interrupted(list["Tensor"]):
    """Images of a thread that is held up, once, between taking a chunk of them and running it."""

    def __init__(self, pixels: Iterable[Tensor], meanwhile: Callable[[], object]) -> None:
        super().__init__(pixels)
        self.meanwhile = [meanwhile]

    def __getitem__(self, place: Any) -> Any:
        chunk = super().__getitem__(place)
        if self.meanwhile:
            with ThreadPoolExecutor(1) as other:
                other.submit(self.meanwhile.pop()).result()
        return chunk


@pytest.mark.parametrize("count", [5, 8, 13])
def test_two_threads_that_run_out_of_memory_together_get_each_their_own_pictures_back(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    # given two threads with batches of 8 on a device that holds two images
    engine = tiny_engine(buckets=(1, 2, 4, 8))
    mine, others = pixels_of(engine, count), pixels_of(engine, 8)[::-1]
    expected = [engine.encode_pixels(pixels) for pixels in (mine, others)]
    asked = hold_at_most(monkeypatch, engine.model, 2)
    theirs: list[Tensor] = []
    held_up = Interrupted(mine, lambda: theirs.append(engine.encode_pixels(others)))
    # when one has its chunk in hand while the other learns that no more than two fit
    features = engine.encode_pixels(held_up)
    # then each gets a row for each of its images, in order
    assert [len(features), len(theirs[0])] == [count, 8]
    assert torch.allclose(features, expected[0], atol=1e-6)
    assert torch.allclose(theirs[0], expected[1], atol=1e-6)
    # and the first's failure, at 8, halves nothing that the second has halved already
    assert engine.max_batch == 2
    assert asked[:8] == [8, 4, 2, 2, 2, 2, 8, 2]


def test_threads_that_run_out_of_memory_at_any_time_get_their_own_images_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(5):
        # given a device that holds three images
        engine = tiny_engine(buckets=(1, 2, 4, 8, 16, 32))
        pixels = pixels_of(engine, 32)
        expected = engine.encode_pixels(pixels)
        hold_at_most(monkeypatch, engine.model, 3)
        # when four threads bring all images, each in an order of its own
        orders = [torch.randperm(32).tolist() for _ in range(4)]
        shuffled = [[pixels[i] for i in order] for order in orders]
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(engine.encode_pixels, shuffled))
        # then
        for features, order in zip(results, orders, strict=True):
            assert torch.allclose(features, expected[order], atol=1e-6)


def test_memory_of_the_batch_that_failed_is_free_before_the_next_try() -> None:
    # given a forward that holds a large object when it fails
    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    alive: list[int] = []

    def forward(chunk: Any, _: int) -> Tensor:
        alive.append(Large.alive)
        held = Large()
        if len(chunk) > 1:
            raise torch.OutOfMemoryError
        del held
        return torch.stack(chunk)

    # when
    BatchLimit(4, "images").run(list(torch.zeros(2, 1)), forward)
    # then no try began while another's was alive
    assert alive == [0] * 3


def test_other_errors_of_a_forward_pass_unchanged() -> None:
    error = RuntimeError(ELSEWHERE[0])

    def forward(*_: object) -> Tensor:
        raise error

    with pytest.raises(RuntimeError) as caught:
        BatchLimit(4, "images").run(list(torch.zeros(2, 1)), forward)
    assert caught.value is error


# --- a lost device ---


@pytest.mark.parametrize("text", LOST)
@pytest.mark.parametrize("tower", ["visual", "transformer"])
def test_a_device_that_will_not_heal_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tower: str, text: str
) -> None:
    engine = tiny_engine()
    error = RuntimeError(text)

    def fail(*_: object, **__: object) -> Tensor:
        raise error

    for part in engine.model.clip.get_submodule(tower).modules():
        monkeypatch.setattr(part, "forward", fail)
    with pytest.raises(DeviceLostError, match="restart the process") as caught:
        engine.classify([photo((40, 40), seed=0)], ["cat"])
    assert caught.value.__cause__ is error
    assert text.partition("\n")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="this torch has no such class")
def test_torchs_own_class_for_it_counts_whatever_its_words() -> None:
    error = torch.AcceleratorError("something new")
    assert is_device_lost(error)
    with pytest.raises(DeviceLostError), device_losses():
        raise error


def test_torch_words_a_cpus_lack_of_memory_like_that() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "out_of_memory"),
    [
        (OUT_OF_MEMORY, True),
        *((RuntimeError(text), True) for text in OUT_OF_MEMORY_WORDS),
        *((RuntimeError(text), False) for text in ELSEWHERE),
    ],
)
def test_neither_memory_that_ran_out_nor_another_error_is_a_lost_device(
    error: Exception,
    out_of_memory: bool,  # noqa: FBT001  # a case
) -> None:
    assert is_out_of_memory(error) == out_of_memory
    assert not is_device_lost(error)
