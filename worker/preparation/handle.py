"""A preparation process as the pool sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from worker.preparation import messages
from worker.preparation.messages import Reply, ReplyReader, Work
from worker.preparation.records import ImageRequest
from worker.quoting import shown_uri

_RECEIVED_BYTES = 256 * 1024
_TICKS = os.sysconf("SC_CLK_TCK")  # a second, of processor time


class Picture:
    """A picture in the pool.

    Attributes:
        request: What was asked.
        ends_at_s: When nobody wants it any more, by `time.monotonic`.
        slot: Where its pixels go, while a process has it in hand.
        large_bytes: Memory that it needs beyond a process's own; None if it is not known as large.
        deaths: Processes that died with it in hand.
        is_suspect: Whether it may have been what a process died of; it runs alone then.
        is_cancelled: Whether nobody is told of it.
    """

    __slots__ = (
        "deaths",
        "ends_at_s",
        "is_cancelled",
        "is_suspect",
        "large_bytes",
        "request",
        "slot",
    )

    def __init__(self, request: ImageRequest) -> None:
        self.request = request
        within_s = request.within_s
        self.ends_at_s = None if within_s is None else time.monotonic() + within_s
        self.slot = -1
        self.large_bytes: int | None = None
        self.deaths = 0
        self.is_suspect = False
        self.is_cancelled = False

    @property
    def size_bytes(self) -> int:
        """What is sent of it."""
        return len(self.request.uri) + len(self.request.data or b"")


class ProcessHandle:
    """One process: its socket, and what it has in hand.

    Args:
        place: Its number.
        connection: Our end of its socket.

    Attributes:
        pid: 0 until the fork server has said it.
        in_hand: Pictures that were sent to it and have not come back, by ticket.
        bytes_in_hand: What was sent of these.
        is_alone: Whether it is kept for a suspect.
        is_slow: Whether it has been decoding one picture for long.
        is_sound: Whether it has reported anything; it does once it is ready.
        is_broken: Whether it is being ended, or has ended.
        large_ticket: The large picture that it has a grant for, or 0.
        pictures: How many it has prepared.
        overran: The picture that it is being ended for, or 0: it took too long.
        reason: Why it is being ended.
        waited_s: How long the fork server has owed us word of its start or its end.
    """

    def __init__(self, place: int, connection: socket.socket) -> None:
        self.place = place
        self.connection = connection
        connection.settimeout(0)
        self.pid = 0
        self.in_hand: dict[int, Picture] = {}
        self.bytes_in_hand = 0
        self.is_alone = self.is_slow = self.is_sound = self.is_broken = False
        self.large_ticket = self.overran = self.pictures = 0
        self.waited_s = 0.0
        self.reason = ""
        self._outgoing: deque[memoryview] = deque()
        self._reader = ReplyReader()

    @property
    def has_to_send(self) -> bool:
        """Whether there is more to send than the socket takes now."""
        return bool(self._outgoing)

    def send_work(self, pictures: Sequence[tuple[int, Picture]], now_s: float) -> None:
        """Hand pictures over, each with its ticket."""
        works, bodies = [], []
        for ticket, picture in pictures:
            self.in_hand[ticket] = picture
            self.bytes_in_hand += picture.size_bytes
            request, ends_at_s = picture.request, picture.ends_at_s
            uri, data = request.uri.encode("utf-8", "surrogatepass"), request.data
            within_s = None if ends_at_s is None else ends_at_s - now_s
            size = None if data is None else len(data)
            works.append(Work(ticket, picture.slot, len(uri), size, within_s))
            bodies += [uri] if data is None else [uri, data]
        self.send(messages.work_message(works), *bodies)

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
            EOFError: It has closed the socket, by ending as a rule.
            ProtocolError: It sent what no sound process sends.
        """
        while True:
            try:
                data = self.connection.recv(_RECEIVED_BYTES)
            except BlockingIOError:
                return
            except ConnectionError as error:
                raise EOFError from error
            if not data:
                raise EOFError
            yield from self._reader.feed(data)
            if len(data) < _RECEIVED_BYTES:
                return

    def take(self, ticket: int) -> Picture | None:
        """A picture that is no longer in its hands; None if it never was."""
        picture = self.in_hand.pop(ticket, None)
        if picture is not None:
            self.bytes_in_hand -= picture.size_bytes
        return picture

    def kill(self, reason: str) -> None:
        """End it at once."""
        self.is_broken = True
        self.reason = self.reason or reason
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def last_replies(self, timeout_s: float) -> Iterator[Reply]:
        """What it has sent before it ended, until it has let go of its socket and its memory."""
        self.connection.settimeout(timeout_s)
        with contextlib.suppress(OSError):
            while data := self.connection.recv(_RECEIVED_BYTES):
                yield from self._reader.feed(data)

    def stats(self, ticket: int) -> dict[str, object]:
        """What can be seen of it; `ticket` is what it is decoding."""
        decoding = self.in_hand.get(ticket)
        return {
            "pid": self.pid,
            "pictures": self.pictures,
            "in_hand": len(self.in_hand),
            "bytes_in_hand": self.bytes_in_hand,
            "decoding": shown_uri(decoding.request.uri) if decoding else None,
        }

    def state(self) -> tuple[str, float]:
        """What Linux says of its main thread; ("", 0.0) where it says nothing.

        Returns:
            The letter of its state (`R`, `S`, `T` …), and the processor time that it has used.
        """
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/stat").read_text()
        except OSError:
            return "", 0.0
        fields = text.rpartition(")")[2].split()
        return fields[0], (int(fields[11]) + int(fields[12])) / _TICKS
