"""The pictures of a pool that nobody has been told of, and the slots that callers have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clip_engine.errors import ImageError
from worker.errors import ExpiredError, TemporaryError
from worker.preparation.backlog import Backlog
from worker.preparation.error_codec import PreparationError
from worker.preparation.handle import Picture
from worker.preparation.memory_grants import MemoryGrants
from worker.preparation.records import ImageRequest, PreparedImage
from worker.preparation.settings import PreparationSettings
from worker.quoting import shown_uri


class Registry:
    """Takes requests and ends each of them once. `release` may be called on any thread.

    Args:
        settings: Of the pool.
        grants: For large pictures.

    Attributes:
        backlog: Pictures that wait for a process.
    """

    def __init__(self, settings: PreparationSettings, grants: MemoryGrants) -> None:
        self.backlog = Backlog(settings, grants, self._expire)
        self._pictures: dict[int, Picture] = {}  # by key
        self._handed_out: set[int] = set()  # slots
        self._ended: list[PreparedImage] = []

    def take(self, requests: Sequence[ImageRequest]) -> None:
        """Let pictures wait for a process."""
        for request in requests:
            picture = self._pictures[request.key] = Picture(request)
            self.backlog.waiting.append(picture)

    def cancel(self, keys: Iterable[int]) -> None:
        """Nobody is told of these any more; those that wait are dropped."""
        for key in keys:
            if (picture := self._pictures.pop(key, None)) is not None:
                picture.is_cancelled = True
                for line in self.backlog.lines:
                    if picture in line:
                        line.remove(picture)

    def end(
        self,
        picture: Picture,
        error: PreparationError | None = None,
        fetch_s: float = 0.0,
        decode_s: float = 0.0,
    ) -> None:
        """A picture's pixels are in its slot, or there is an error."""
        key, slot, picture.slot = picture.request.key, picture.slot, -1
        if self._pictures.get(key) is picture:
            del self._pictures[key]
            kept = slot if error is None else None
            self._ended.append(PreparedImage(key, kept, error, fetch_s, decode_s))
            if kept is not None:
                self._handed_out.add(kept)
                return
        if slot >= 0:
            self.backlog.free_slots.append(slot)

    @property
    def is_busy(self) -> bool:
        """Whether there are pictures that have not ended."""
        return bool(self._pictures)

    def take_ended(self) -> list[PreparedImage]:
        """What ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def release(self, slots: Sequence[int]) -> None:
        """Slots are free again.

        Raises:
            ValueError: One was not handed out.
        """
        for slot in slots:
            try:
                self._handed_out.remove(slot)
            except KeyError:
                raise ValueError(f"Slot {slot} was not handed out.") from None
            self.backlog.free_slots.append(slot)

    def fail_waiting(self, reason: str) -> None:
        """No process can be started: who waits may try again later."""
        for line in self.backlog.lines:
            while line:
                self.end(line.popleft(), unavailable(reason))

    def fail_all(self) -> None:
        """The pool is being stopped."""
        for picture in list(self._pictures.values()):
            self.end(picture, stopping(picture))

    def _expire(self, picture: Picture) -> None:
        self.end(picture, ExpiredError("The deadline passed before the picture was prepared."))


def too_expensive(cpu_s: float) -> ImageError:
    """A picture was decoded for too long."""
    return ImageError(
        f"The picture took more than {cpu_s:g} s of processor time to decode; give a smaller one, "
        "or save it anew.",
        "DECODE_TOO_EXPENSIVE",
    )


def crashed(reason: str) -> ImageError:
    """Two processes died of a picture."""
    return ImageError(
        f"The picture's decoder crashed twice ({reason}); give a sound file.", "DECODE_CRASHED"
    )


def unavailable(reason: str) -> TemporaryError:
    """There is no process for a picture."""
    return TemporaryError(
        f"The worker can't prepare pictures at the moment ({reason}); send it again.",
        "PREPARATION_UNAVAILABLE",
    )


def stopping(picture: Picture) -> TemporaryError:
    """The pool is being stopped."""
    return TemporaryError(
        f"{shown_uri(picture.request.uri)}: the worker is stopping; send it again.", "STOPPING"
    )
