"""A preparation process as the pool sees it, and an image that waits for one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence

from clip_worker.quoting import shown_uri
from worker.preparation import messages
from worker.preparation.decode_watch import DecodeWatch
from worker.preparation.messages import ProtocolError, Reply, ReplyReader
from worker.preparation.records import ImageRequest

_RECEIVED_BYTES = 256 * 1024
_MOST_DEATHS = 3  # of processes that had an image, after which it runs alone


class QueuedImage:
    """An image in the pool.

    Attributes:
        request: What was asked.
        ends_at_s: Its deadline, by `time.monotonic`.
        slot: Where its pixels go, while a process has it; else -1.
        large_bytes: Memory that it needs beyond a process's own; None unless it is known as large.
        deaths: Processes that died while they had it.
        size_bytes: What is sent of it.
        asker: The process that waits for an answer whether to decode it.
        fetch_s: Seconds that the fetch took, once that is known.
    """

    __slots__ = (
        *("asker", "deaths", "ends_at_s", "fetch_s", "large_bytes", "request", "size_bytes"),
        "slot",
    )

    def __init__(self, request: ImageRequest) -> None:
        self.request = request
        within_s = request.within_s
        self.ends_at_s = None if within_s is None else time.monotonic() + within_s
        self.slot = -1
        self.large_bytes: int | None = None
        self.deaths = 0
        self.asker: ProcessHandle | None = None
        self.fetch_s = 0.0
        self.size_bytes = len(request.uri) + len(request.data or b"")

    @property
    def is_suspect(self) -> bool:
        """Whether processes may have died of it."""
        return self.deaths >= _MOST_DEATHS

    def count_death(self, *, is_culprit: bool) -> None:
        """A process that had it died; a culprit is what it was decoding."""
        self.deaths += _MOST_DEATHS if is_culprit else 1


class ProcessHandle:
    """One process: its socket, and the images that it has.

    Args:
        place: Its number.
        connection: Our end of its socket.
        watch: Looks whether it takes too long.

    Attributes:
        pid: 0 until the fork server has reported it.
        images: Those that were sent to it and have not come back, by slot.
        size_bytes: What was sent of these.
        special: The suspect, or the large image with a grant, that it has.
        is_slow: Whether it has been decoding one image for long.
        is_sound: Whether it has sent anything; it does once it is ready.
        is_broken: Whether it is being ended, or has ended.
        prepared: How many images it has prepared.
        overran: The slot of the image that it is being ended for, as it took too long; else -1.
        reason: Why it is being ended.
    """

    def __init__(self, place: int, connection: socket.socket, watch: DecodeWatch) -> None:
        self.place = place
        self.connection = connection
        connection.settimeout(0)
        self.watch = watch
        self.pid = self.prepared = self.size_bytes = 0
        self.images: dict[int, QueuedImage] = {}
        self.special: QueuedImage | None = None
        self.is_slow = self.is_sound = self.is_broken = False
        self.overran = -1
        self.reason = ""
        self._outgoing: deque[memoryview] = deque()
        self._reader = ReplyReader()

    @property
    def is_live(self) -> bool:
        """Whether it may be given images."""
        return bool(self.pid) and self.is_sound and not self.is_broken

    @property
    def is_reserved(self) -> bool:
        """Whether it gets no further image for now."""
        return self.is_slow or self.special is not None

    @property
    def has_to_send(self) -> bool:
        """Whether there is more to send than the socket takes now."""
        return bool(self._outgoing)

    def prepare(self, images: Sequence[QueuedImage]) -> None:
        """Hand images over, each with its slot."""
        for image in images:
            self.images[image.slot] = image
            self.size_bytes += image.size_bytes
        self.send(
            *messages.prepare([(each.slot, each.request.uri, each.request.data) for each in images])
        )

    def send(self, *parts: bytes) -> None:
        """Send as much as the socket takes, and keep the rest for `flush`; never waits."""
        if sum(map(len, parts)) <= _RECEIVED_BYTES:
            parts = (b"".join(parts),)
        self._outgoing.extend(memoryview(part) for part in parts if part)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        with contextlib.suppress(BlockingIOError, ConnectionError):  # its end shows when reading
            while self._outgoing:
                part = self._outgoing[0]
                sent = self.connection.send(part)
                if sent == len(part):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = part[sent:]

    def replies(self) -> Iterator[Reply]:
        """What it has sent since.

        Raises:
            EOFError: It has closed the socket, usually by ending.
            ProtocolError: It sent what no sound process sends.
        """
        while True:
            try:
                data = self.connection.recv(_RECEIVED_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                raise EOFError from error
            if not data:
                raise EOFError
            yield from self._reader.feed(data)
            if len(data) < _RECEIVED_BYTES:
                return

    def last_replies(self, timeout_s: float) -> Iterator[Reply]:
        """What it sent before it ended, until its socket and its memory are closed."""
        self.connection.settimeout(timeout_s)
        with contextlib.suppress(OSError):
            while data := self.connection.recv(_RECEIVED_BYTES):
                yield from self._reader.feed(data)

    def take(self, slot: int) -> QueuedImage:
        """An image that it does not have any more.

        Raises:
            ProtocolError: It never had it.
        """
        image = self.images.pop(slot, None)
        if image is None:
            raise ProtocolError(f"slot {slot}, which it does not have")
        self.size_bytes -= image.size_bytes
        if image is self.special:
            self.special = None
        return image

    def take_all(self) -> list[QueuedImage]:
        """All images that it has."""
        return [self.take(slot) for slot in list(self.images)]

    def kill(self, reason: str) -> None:
        """End it at once."""
        self.is_broken = True
        self.reason = self.reason or reason
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def stats(self, decoding: int) -> dict[str, object]:
        """What `inspect stats` shows of it; `decoding` is the slot that it is decoding into."""
        image = self.images.get(decoding)
        return {
            "pid": self.pid,
            "images": self.prepared,
            "in_flight": len(self.images),
            "bytes_in_flight": self.size_bytes,
            "decoding": shown_uri(image.request.uri) if image else None,
        }
