"""Preparation processes that ask, with a file's hash, whether to decode it."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.image_zoo import photo
from support.preparing import settings
from support.waiting import LIMIT_S, wait_until

from worker.preparation.messages import (
    Fetched,
    ProtocolError,
    ReplyReader,
    fetched,
)
from worker.preparation.pool import PreparationPool
from worker.preparation.records import FetchedImage, ImageRequest, PreparedImage
from worker.sources import FetchPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Asking:
    """A pool whose processes ask, and what it has said."""

    def __init__(self, folder: Path) -> None:
        policy = FetchPolicy(file_roots=(folder,))
        self.asked: list[FetchedImage] = []
        self.ended: dict[int, PreparedImage] = {}
        self._lock = threading.Lock()
        self.pool = PreparationPool(
            replace(settings(policy=policy), asks=True), self._end, self.asked.extend
        )

    def _end(self, images: Sequence[PreparedImage]) -> None:
        self.ended.update({image.key: image for image in images})


@contextmanager
def asking(folder: Path) -> Iterator[Asking]:
    made = Asking(folder)
    made.pool.start()
    try:
        assert made.pool.wait_until_ready(LIMIT_S)
        yield made
    finally:
        made.pool.stop(LIMIT_S)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    photo((64, 48), 1).save(path)
    return path


def test_an_image_is_decoded_or_dropped_as_the_answer_says(picture: Path, tmp_path: Path) -> None:
    data = picture.read_bytes()
    inline = "data:image/png;base64," + base64.b64encode(data).decode()
    with asking(tmp_path) as made:
        uris = [picture.as_uri(), picture.as_uri(), inline, inline]
        made.pool.submit([ImageRequest(key, uri) for key, uri in enumerate(uris)])
        wait_until(lambda: len(made.asked) == 4)
        assert {each.content for each in made.asked} == {hashlib.sha256(data).hexdigest()}
        assert not made.ended
        free = made.pool.free_slots

        made.pool.answer([0, 2], is_wanted=True)
        made.pool.answer([1, 3, 99], is_wanted=False)  # nobody has asked about 99
        wait_until(lambda: len(made.ended) == 4)

        for key in (0, 2):
            assert (made.ended[key].slot is None, made.ended[key].error) == (False, None)
        for key in (1, 3):
            assert (made.ended[key].slot, made.ended[key].error) == (None, None)
        assert made.pool.free_slots == free + 2
        made.pool.answer([0, 1], is_wanted=True)  # once more says nothing
        made.pool.submit([ImageRequest(5, picture.as_uri())])
        wait_until(lambda: len(made.asked) == 5)


def test_nothing_is_asked_about_a_file_that_was_handed_over(picture: Path, tmp_path: Path) -> None:
    with asking(tmp_path) as made:
        made.pool.submit([ImageRequest(0, "redis://uploads/x", picture.read_bytes())])
        wait_until(lambda: made.ended)
        assert made.ended[0].slot is not None
        assert not made.asked


def test_a_process_that_dies_while_it_waits_is_replaced_by_one_that_asks_again(
    picture: Path, tmp_path: Path
) -> None:
    with asking(tmp_path) as made:
        made.pool.submit([ImageRequest(0, picture.as_uri())])
        wait_until(lambda: len(made.asked) == 1)
        asking_pids = pids(made)
        assert asking_pids
        for pid in asking_pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(made.asked) == 2)
        made.pool.answer([0], is_wanted=True)
        wait_until(lambda: made.ended)
        assert made.ended[0].slot is not None


def pids(made: Asking) -> list[int]:
    """Of the processes that have images; one that is being started has no pid yet."""
    processes: Any = made.pool.stats()["processes"]
    return [each["pid"] for each in processes if each["pid"] > 0 and each["in_flight"]]


def test_what_is_asked_is_read_field_by_field() -> None:
    digest = "0a" * 32
    [reply] = ReplyReader().feed(fetched(3, digest, 0.25))
    assert reply == Fetched(3, digest, 0.25)
    for content in ("", "0A" * 32, digest + "\n", digest[1:], "é" * 64):
        with pytest.raises(ProtocolError):
            list(ReplyReader().feed(fetched(3, content, 0.25)))
    with pytest.raises(ProtocolError):
        list(ReplyReader().feed(fetched(3, digest, float("inf"))))


def test_a_process_that_asks_without_being_told_to_is_ended(picture: Path, tmp_path: Path) -> None:
    from worker.preparation.handle import ProcessHandle, QueuedImage
    from worker.preparation.image_queue import ImageQueue

    made, data = settings(policy=FetchPolicy(file_roots=(tmp_path,))), picture.read_bytes()
    cases = [(made, None), (replace(made, asks=True), data)]
    for given, file in cases:
        process = ProcessHandle.__new__(ProcessHandle)
        image = QueuedImage(ImageRequest(0, "x", file))
        image.slot, process.images = 0, {0: image}
        queue = ImageQueue(given, lambda: ())
        for slot in (0, 1):
            with pytest.raises(ProtocolError, match="a question"):
                queue.fetched(process, Fetched(slot, "0a" * 32, 0.0))
