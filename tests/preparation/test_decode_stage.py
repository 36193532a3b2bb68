"""When a process returns the memory of its decodes, without a process."""

from __future__ import annotations

import pytest
from support.image_files import encoded
from support.image_zoo import photo

from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor
from worker.preparation import allocator
from worker.preparation.decode_stage import DecodeStage
from worker.preparation.fetch_stage import ProcessImage
from worker.preparation.shared_images import SharedImages

R = 32
MB = 1_000_000
PICTURE = encoded(photo((1000, 1000), 1), "PNG")  # needs 10 MB


class Limit:
    """Notes what is allowed on top."""

    def __init__(self) -> None:
        self.allowed: list[int] = []

    def allow(self, beyond_bytes: int) -> None:
        self.allowed.append(beyond_bytes)


@pytest.fixture
def returns(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """An entry for each time that memory is returned."""
    calls: list[None] = []
    monkeypatch.setattr(allocator, "return_freed", lambda: calls.append(None))
    return calls


def decode(count: int, own_bytes: int) -> list[int]:
    """Decode the picture so many times; gives what was allowed on top of a process's own."""
    images, limit = SharedImages.create(1, R, 1), Limit()
    stage = DecodeStage(
        place=0,
        images=images,
        preprocessor=Preprocessor(ImageTransform(R)),
        own_bytes=own_bytes,
        shared_bytes=100 * MB,
        limit=limit,  # type: ignore[arg-type]
        flush=lambda: None,
        ask=lambda _slot, _beyond: True,
    )
    for _ in range(count):
        _, error = stage.run(ProcessImage(slot=0, uri="", data=PICTURE))
        assert error is None
    images.close()
    return limit.allowed


def test_memory_is_returned_after_64_mb_and_not_after_each_image(returns: list[None]) -> None:
    assert decode(13, own_bytes=200 * MB) == []
    assert len(returns) == 1


def test_a_process_never_keeps_more_than_its_own_part(returns: list[None]) -> None:
    # given images that need 2 MB beyond it: they are allowed, and then no longer
    assert decode(2, own_bytes=8 * MB) == [2 * MB, 0] * 2
    assert len(returns) == 2
