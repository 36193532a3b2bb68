"""Decodes and resizes pictures in a preparation process, one at a time, on its main thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from clip_engine.errors import ImageError
from worker.allocator import return_freed
from worker.preparation.error_codec import PreparationError, known_error
from worker.preparation.fetch_stage import Picture
from worker.preparation.limits import MemoryLimit
from worker.preparation.shared_images import SharedImages
from worker.sources.reservation import Reserve

_LARGE_BYTES = 4 * 1024 * 1024
_MB = 1_000_000


class Prepares(Protocol):
    """Whatever makes pixels of a file; `clip_engine.preprocess.Preprocessor` does."""

    def from_bytes(self, data: bytes, reserve: Reserve | None = None) -> Tensor:
        """uint8 `[3, R, R]`; `reserve` is told how much memory that takes."""


class DecodeStage:
    """From a file to pixels in a slot.

    Args:
        place: Which number of `images.decoding` is this process's.
        images: Where pixels go.
        preprocessor: Decodes and resizes.
        own_bytes: Memory that a decode may take.
        shared_bytes: What it may have on top, if the pool grants it.
        limit: Lifted while `shared_bytes` are used.
        before_large: Called before a decode that may take long, with its ticket; it waits for the
            memory that is needed beyond `own_bytes`, if that is more than 0.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        place: int,
        images: SharedImages,
        preprocessor: Prepares,
        own_bytes: int,
        shared_bytes: int,
        limit: MemoryLimit,
        before_large: Callable[[int, int], None],
    ) -> None:
        self._place = place
        self._images = images
        self._preprocessor = preprocessor
        self._own_bytes = own_bytes
        self._shared_bytes = shared_bytes
        self._before_large = before_large
        self._limit = limit

    def run(self, picture: Picture) -> tuple[float, PreparationError | None]:
        """Decode a picture into its slot.

        Returns:
            Seconds that it took, without waiting for memory; and why it failed, if it did.
        """
        start = time.perf_counter()
        waited_s, estimate = 0.0, len(picture.data or b"")

        def reserve(size_bytes: int) -> None:
            nonlocal waited_s, estimate
            estimate += size_bytes
            began = time.perf_counter()
            self._reserve(picture.ticket, size_bytes)
            waited_s = time.perf_counter() - began

        self._images.decoding[self._place] = picture.ticket
        try:
            picture.check_deadline()
            pixels = self._preprocessor.from_bytes(picture.data or b"", reserve)
            self._images.pixels[picture.slot] = pixels.numpy()
            del pixels
            error = None
        except Exception as failure:  # noqa: BLE001  # whatever it is, the pool must hear of it
            error = self._failure(failure, picture.uri)
        picture.data = None
        if estimate >= _LARGE_BYTES:
            self._let_go(estimate)
        self._images.decoding[self._place] = 0
        return time.perf_counter() - start - waited_s, error

    def _reserve(self, ticket: int, size_bytes: int) -> None:
        most = self._own_bytes + self._shared_bytes
        if size_bytes > most:
            raise ImageError(
                f"The picture has too many pixels: to decode it takes about {size_bytes // _MB} MB "
                f"of memory, and this worker has {most // _MB} MB for one; give a smaller one.",
                "TOO_MANY_PIXELS",
            )
        if size_bytes >= _LARGE_BYTES:
            beyond = max(0, size_bytes - self._own_bytes)
            self._before_large(ticket, beyond)
            if beyond:
                self._limit.raise_by(beyond)

    def _let_go(self, size_bytes: int) -> None:
        return_freed()
        if size_bytes > self._own_bytes:
            self._limit.restore()

    def _failure(self, error: Exception, uri: str) -> PreparationError:
        if isinstance(error, MemoryError):
            return ImageError(
                "To decode the picture takes more memory than its size and format should; give a "
                "sound file, or a smaller one.",
                "DECODE_TOO_EXPENSIVE",
            )
        return known_error(error, uri)
