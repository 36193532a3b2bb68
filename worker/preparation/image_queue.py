"""The images of a pool: which wait, which process gets which, and which slots are free."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from clip_engine.errors import ImageError
from clip_worker.errors import ExpiredError
from clip_worker.quoting import shown_uri
from worker.preparation import messages
from worker.preparation.error_codec import PreparationError
from worker.preparation.handle import ProcessHandle, QueuedImage
from worker.preparation.messages import Fetched, Outcome, ProtocolError, Want
from worker.preparation.records import FetchedImage, ImageRequest, PreparedImage
from worker.preparation.settings import CHUNK, PreparationSettings
from worker.preparation.turn_queue import TurnQueue

logger = logging.getLogger(__name__)


class ImageQueue:
    """Hands images to processes, and ends each of them once.

    Images go out in the order of their coming, tenants in turn, but for the *special* ones:
    suspects, which run alone in a process, and those known to be large, which share a part of the
    memory. At most as many special images as there should be processes are prepared at a time.
    There may be more processes than that, so the others always find one.

    One thread uses it, but for `release`.

    Args:
        settings: Of these, the slots, and how much a process may hold.
        processes: All of them.

    Attributes:
        free_slots: Slots that no image has.
    """

    def __init__(
        self, settings: PreparationSettings, processes: Callable[[], Collection[ProcessHandle]]
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._waiting = TurnQueue(_tenant_of)
        self._special = TurnQueue(_tenant_of)
        self.free_slots: deque[int] = deque(range(settings.slots))
        self._handed_out: set[int] = set()
        self._ended: list[PreparedImage] = []
        self._asked: dict[int, QueuedImage] = {}  # by key: they wait for an answer
        self._fetched: list[FetchedImage] = []

    @property
    def waiting(self) -> int:
        """Images that no process has."""
        return len(self._special) + len(self._waiting)

    @property
    def is_busy(self) -> bool:
        """Whether there are images that have not ended."""
        return bool(self.waiting) or any(each.images for each in self._processes())

    def add(self, requests: Sequence[ImageRequest]) -> None:
        """Let images wait for a process."""
        self._waiting.extend(map(QueuedImage, requests))

    def put_back(self, images: Sequence[QueuedImage]) -> None:
        """Let images that a process had wait again, before all others."""
        for image in reversed(images):
            self._free_slot(image)
            self._forget_question(image)
            is_special = image.is_suspect or image.large_bytes is not None
            (self._special if is_special else self._waiting).appendleft(image)

    def end(
        self,
        image: QueuedImage,
        error: PreparationError | None,
        fetch_s: float = 0.0,
        decode_s: float = 0.0,
    ) -> None:
        """An image's pixels are in its slot, or there is an error."""
        self._forget_question(image)
        slot = None if error else image.slot
        self._ended.append(PreparedImage(image.request.key, slot, error, fetch_s, decode_s))
        if slot is None:
            self._free_slot(image)
        else:
            self._handed_out.add(slot)

    def take_ended(self) -> list[PreparedImage]:
        """What ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def fetched(self, process: ProcessHandle, reply: Fetched) -> None:
        """Let an image wait until `answer` says whether to decode it.

        Raises:
            ProtocolError: The process does not have it, or should not ask.
        """
        image = process.images.get(reply.slot)
        is_asking = self._settings.asks and image is not None and image.request.data is None
        if image is None or not is_asking or image.asker is not None:
            raise ProtocolError(f"a question about slot {reply.slot}")
        image.asker, image.fetch_s = process, reply.fetch_s
        self._asked[image.request.key] = image
        self._fetched.append(FetchedImage(image.request.key, reply.content))

    def take_fetched(self) -> list[FetchedImage]:
        """What was fetched since the last call."""
        fetched, self._fetched = self._fetched, []
        return fetched

    def answer(self, keys: Sequence[int], *, is_wanted: bool) -> None:
        """Have images decoded, or end them without pixels, if somebody asks about them."""
        for key in keys:
            if image := self._asked.pop(key, None):  # else its process has ended, and another asks
                self._answer(image, is_wanted=is_wanted)

    def _answer(self, image: QueuedImage, *, is_wanted: bool) -> None:
        assert image.asker, "it asks"
        process, image.asker = image.asker, None
        if is_wanted:
            process.send(messages.decode(image.slot))
        else:
            process.take(image.slot)
            process.send(messages.drop(image.slot))
            self._ended.append(PreparedImage(image.request.key, None, None, image.fetch_s))
            self._free_slot(image)

    def release(self, slots: Sequence[int]) -> None:
        """Free slots again.

        Raises:
            ValueError: One was not handed out.
        """
        for slot in slots:
            try:
                self._handed_out.remove(slot)
            except KeyError:
                raise ValueError(f"Slot {slot} was not handed out.") from None
            self.free_slots.append(slot)

    def fail_waiting(self, why: Callable[[QueuedImage], PreparationError]) -> None:
        """End all that wait."""
        for line in (self._special, self._waiting):
            while line:
                image = line.popleft()
                self.end(image, why(image))

    def fail_all(self, why: Callable[[QueuedImage], PreparationError]) -> None:
        """End all: no process will answer any more."""
        for process in self._processes():
            self.put_back(process.take_all())
        self.fail_waiting(why)

    def done(self, process: ProcessHandle, outcome: Outcome) -> None:
        """End an image as a process says.

        Raises:
            ProtocolError: The process does not have it.
        """
        self.end(process.take(outcome.slot), outcome.error, outcome.fetch_s, outcome.decode_s)

    def process_ended(self, process: ProcessHandle, decoding: int) -> None:
        """Find the image that a process died of; the others are sent to other processes.

        The culprit is what it was decoding. It is tried once more, alone, unless it took too long.

        Args:
            process: Nothing of it is left.
            decoding: The slot that it was decoding into, or -1.
        """
        is_expensive = process.overran >= 0
        culprit = process.images.get(process.overran if is_expensive else decoding)
        images = process.take_all()
        if culprit is None and len(images) == 1 and images[0].is_suspect:
            (culprit,) = images
        if images:
            logger.warning(
                "Preparation process %d ended (%s) with %d images%s",
                process.pid,
                process.reason,
                len(images),
                f"; it was decoding {shown_uri(culprit.request.uri)}" if culprit else "",
            )
        if culprit and (is_expensive or culprit.is_suspect):
            images.remove(culprit)
            most_s = self._settings.decode_cpu_s
            self.end(culprit, _too_expensive(most_s) if is_expensive else _crashed(process.reason))
        for image in images:
            image.count_death(is_culprit=image is culprit)
        self.put_back(images)

    def dispatch(self) -> None:
        """Hand out what can be handed out now."""
        able = [each for each in self._processes() if each.is_live and not each.is_reserved]
        while able and self._special and self.free_slots and self._may_start(self._special.peek()):
            process = min(able, key=_load)
            if process.images:  # none is idle; this one gets no more, and is idle soon
                able.remove(process)
                break
            if self._send(process, self._special, 1):
                process.special = next(iter(process.images.values()))
                able.remove(process)
        while able and self._waiting and self.free_slots:
            process = min(able, key=_load)
            share = math.ceil(len(self._waiting) / len(able))
            room = self._settings.window - len(process.images)
            if not self._send(process, self._waiting, min(CHUNK, share, room)):
                able.remove(process)

    def grant(self, process: ProcessHandle, want: Want) -> bool:
        """Whether a process may decode a large image now; if not, it returns it for later.

        Raises:
            ProtocolError: It does not have the image, or asks for more than there is.
        """
        image = process.images.get(want.slot)
        if (
            image is None
            or process.special not in (None, image)
            or want.size_bytes > self._settings.shared_decode_bytes
        ):
            raise ProtocolError(f"a request for {want.size_bytes} bytes for slot {want.slot}")
        was_special, process.special = process.special, None
        image.large_bytes = max(want.size_bytes, image.large_bytes or 0)
        if (was_special or not self._special) and self._may_start(image):
            process.special = image
        return process.special is image

    def _may_start(self, image: QueuedImage) -> bool:
        """Whether there is room for one more special image, and memory if it is large."""
        special = [each.special for each in self._processes() if each.special]
        used_bytes = sum(each.large_bytes or 0 for each in special)
        return (
            len(special) < self._settings.processes
            and used_bytes + (image.large_bytes or 0) <= self._settings.shared_decode_bytes
        )

    def _send(self, process: ProcessHandle, line: TurnQueue[QueuedImage], most: int) -> bool:
        """Send a process up to so many images; False if it takes none."""
        now_s = time.monotonic()
        chunk: list[QueuedImage] = []
        size_bytes = process.size_bytes
        while line and self.free_slots and len(chunk) < most:
            image = line.peek()
            if image.ends_at_s is not None and image.ends_at_s <= now_s:
                self.end(line.popleft(), _expired())
                continue
            if size_bytes and size_bytes + image.size_bytes > self._settings.file_bytes_each:
                break
            size_bytes += image.size_bytes
            image.slot = self.free_slots.popleft()
            chunk.append(line.popleft())
        if chunk:
            process.prepare(chunk)
        return bool(chunk)

    def _forget_question(self, image: QueuedImage) -> None:
        if image.asker is not None:
            image.asker = None
            self._asked.pop(image.request.key, None)

    def _free_slot(self, image: QueuedImage) -> None:
        if image.slot >= 0:
            self.free_slots.append(image.slot)
            image.slot = -1


def _tenant_of(image: QueuedImage) -> str:
    return image.request.tenant


def _load(process: ProcessHandle) -> int:
    return len(process.images)


def _too_expensive(cpu_s: float) -> ImageError:
    return ImageError(
        f"The image took more than {cpu_s:g} s of processor time to decode; give a smaller one, "
        "or save it anew.",
        "DECODE_TOO_EXPENSIVE",
    )


def _crashed(reason: str) -> ImageError:
    return ImageError(
        f"The image's decoder crashed twice ({reason}); give a sound file.", "DECODE_CRASHED"
    )


def _expired() -> ExpiredError:
    return ExpiredError("The deadline passed before the image was prepared; give a later one.")
