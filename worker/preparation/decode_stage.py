"""Decodes and resizes images in a preparation process, one at a time, on its main thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from clip_engine.errors import ImageError
from clip_engine.preprocess import Preprocessor
from worker.preparation import allocator
from worker.preparation.error_codec import PreparationError, known_error
from worker.preparation.fetch_stage import ProcessImage
from worker.preparation.limits import MemoryLimit
from worker.preparation.shared_images import NONE, SharedImages

MEDIUM_BYTES = 4 * 1024 * 1024  # of memory: a decode may take 20 ms
_LARGE_BYTES = 64 * 1024 * 1024  # half a second or more
_MB = 1_000_000


class NotNowError(MemoryError):  # which is what the preprocessor lets through
    """The pool does not grant a large image now."""


class DecodeStage:
    """From a file to pixels in a slot.

    Args:
        place: Which number of `images.decoding` is this process's.
        images: Where pixels go.
        preprocessor: Decodes and resizes.
        own_bytes: Memory that a decode may take.
        shared_bytes: What it may have on top, if the pool grants it.
        limit: Lifted while `shared_bytes` are used.
        flush: Called before a decode that may take long.
        ask: Asks the pool, with a slot and the memory that is needed beyond `own_bytes`, whether
            a large image may be decoded now.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        *,
        place: int,
        images: SharedImages,
        preprocessor: Preprocessor,
        own_bytes: int,
        shared_bytes: int,
        limit: MemoryLimit,
        flush: Callable[[], None],
        ask: Callable[[int, int], bool],
    ) -> None:
        self._place = place
        self._images = images
        self._preprocessor = preprocessor
        self._own_bytes = own_bytes
        self._shared_bytes = shared_bytes
        self._flush = flush
        self._ask = ask
        self._limit = limit
        self._kept_bytes = 0  # at most: what was used since memory was returned

    def run(self, image: ProcessImage) -> tuple[float, PreparationError | None]:
        """Decode an image into its slot.

        Returns:
            Seconds that it took; and why it failed, if it did.

        Raises:
            NotNowError: It is large, and others are being decoded.
        """
        start = time.perf_counter()
        data = image.data or b""
        self._images.decoding[self._place] = image.slot
        allocator.forget_failures()
        try:
            pixels = self._preprocessor.from_bytes(data, partial(self._reserve, image))
            self._images.pixels[image.slot] = pixels.numpy()
            del pixels
            error = None
        except NotNowError:
            raise
        except Exception as failure:  # noqa: BLE001  # whatever it is, the pool must hear of it
            error = self._failure(failure, image.uri)
        finally:
            image.data = None
            used_bytes = image.needed_bytes + len(data)
            del data
            self._clean_up(image, used_bytes)
            self._images.decoding[self._place] = NONE
        return time.perf_counter() - start, error

    def _clean_up(self, image: ProcessImage, used_bytes: int) -> None:
        """Return what images used to the system, not after each: to map it again takes longer."""
        self._kept_bytes += used_bytes
        if self._kept_bytes >= min(_LARGE_BYTES, self._own_bytes):
            allocator.return_freed()
            self._kept_bytes = 0
        if image.needed_bytes > self._own_bytes:
            self._limit.allow(0)

    def _reserve(self, image: ProcessImage, size_bytes: int) -> None:
        most = self._own_bytes + self._shared_bytes
        if size_bytes > most:
            raise ImageError(
                f"The image has too many pixels: to decode it takes about {size_bytes // _MB} MB "
                f"of memory, and this worker has {most // _MB} MB for one; give a smaller one.",
                "TOO_MANY_PIXELS",
            )
        image.needed_bytes = size_bytes
        if size_bytes >= MEDIUM_BYTES:
            self._flush()
        beyond = max(0, size_bytes - self._own_bytes)
        if beyond or size_bytes >= _LARGE_BYTES:
            if not self._ask(image.slot, beyond):
                raise NotNowError
            self._limit.allow(beyond)

    def _failure(self, error: Exception, uri: str) -> PreparationError:
        is_broken = isinstance(error, ImageError) and error.code == "DECODE_BROKEN"
        if isinstance(error, MemoryError) or (is_broken and allocator.has_failed()):
            return ImageError(
                "To decode the image takes more memory than its size and format should; give a "
                "sound file, or a smaller one.",
                "DECODE_TOO_EXPENSIVE",
            )
        return known_error(error, uri)
