"""Pictures that wait for a process, and the slots that are free for them."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from worker.preparation.handle import Picture, ProcessHandle
from worker.preparation.memory_grants import MemoryGrants
from worker.preparation.messages import ProtocolError, Want
from worker.preparation.settings import CHUNK, PreparationSettings


class Backlog:
    """Hands pictures to processes, in the order of their coming.

    Args:
        settings: Of these, the slots and how much a process may have in hand.
        grants: For large pictures.
        expired: Called with each picture that nobody wants any more.
    """

    def __init__(
        self,
        settings: PreparationSettings,
        grants: MemoryGrants,
        expired: Callable[[Picture], None],
    ) -> None:
        self._grants = grants
        self._window = settings.window
        self._most_bytes = settings.file_bytes_each
        self._expired = expired
        self.waiting: deque[Picture] = deque()
        self.large: deque[Picture] = deque()  # known to be, and wait for a grant
        self.suspects: deque[Picture] = deque()  # wait for a process of their own
        self.free_slots: deque[int] = deque(range(settings.slots))
        self._tickets = itertools.count(1)

    def put_back(self, pictures: Sequence[Picture]) -> None:
        """Let pictures that a process had in hand wait again, before all others."""
        for picture in reversed(pictures):
            self.free_slots.append(picture.slot)
            picture.slot = -1
            if not picture.is_cancelled:
                self._line(picture).appendleft(picture)

    @property
    def lines(self) -> tuple[deque[Picture], ...]:
        """All that wait."""
        return self.suspects, self.large, self.waiting

    def _line(self, picture: Picture) -> deque[Picture]:
        if picture.is_suspect:
            return self.suspects
        return self.waiting if picture.large_bytes is None else self.large

    def dispatch(self, processes: Sequence[ProcessHandle]) -> None:
        """Hand out what can be handed out now.

        Args:
            processes: Those that are in order.
        """
        for process in processes:
            if not process.in_hand:
                process.is_alone = self._send_large(process, self.suspects)
        able = [each for each in processes if not each.is_alone and not each.is_slow]
        if self.suspects and len(able) == len(processes) > 1:  # one has to become idle
            able.remove(min(able, key=lambda each: len(each.in_hand)))
        for process in able:
            if not process.large_ticket:
                self._send_large(process, self.large)
        while self.waiting and self.free_slots and able:
            process = min(able, key=lambda each: len(each.in_hand))
            share = math.ceil(len(self.waiting) / len(able))
            room = self._window - len(process.in_hand)
            if not self._send(process, self.waiting, min(CHUNK, share, room)):
                able.remove(process)

    def _send_large(self, process: ProcessHandle, line: deque[Picture]) -> bool:
        """Send the first of a line, with a grant if it is known to be large."""
        size_bytes = line[0].large_bytes if line else None
        if not line or (size_bytes is not None and not self._grants.is_free(size_bytes)):
            return False
        if not self._send(process, line, 1):
            return False
        ticket, picture = next(reversed(process.in_hand.items()))
        if picture.large_bytes is not None:
            process.large_ticket = ticket
            self._grants.take(ticket, picture.large_bytes)
        return True

    def grant(self, process: ProcessHandle, want: Want) -> bool:
        """Whether a process may decode a large picture now; if not, it gives it back for later.

        Raises:
            ProtocolError: It does not have the picture, or asks for more than there is.
        """
        picture = process.in_hand.get(want.ticket)
        if picture is None or want.size_bytes > self._grants.total_bytes:
            raise ProtocolError(f"a wish for {want.size_bytes} bytes for ticket {want.ticket}")
        if self._grants.has(want.ticket, want.size_bytes):
            return True
        picture.large_bytes = want.size_bytes
        self._grants.release(want.ticket)  # it needs more than was known
        is_first = process.large_ticket == want.ticket or not self.large
        if not is_first or not self._grants.is_free(want.size_bytes):
            return False
        self._grants.take(want.ticket, want.size_bytes)
        process.large_ticket = want.ticket
        return True

    def take_from(self, process: ProcessHandle, ticket: int) -> Picture | None:
        """A picture that a process has no longer in hand; None if it never had."""
        self._grants.release(ticket)
        if process.large_ticket == ticket:
            process.large_ticket = 0
        return process.take(ticket)

    def take_all_from(self, process: ProcessHandle) -> list[Picture]:
        """All that a process had in hand when it ended."""
        found = [self.take_from(process, ticket) for ticket in list(process.in_hand)]
        return [picture for picture in found if picture is not None]

    def _send(self, process: ProcessHandle, line: deque[Picture], most: int) -> bool:
        """Send a process up to so many pictures; False if it takes none."""
        now_s = time.monotonic()
        chunk: list[tuple[int, Picture]] = []
        size_bytes = process.bytes_in_hand
        while line and len(chunk) < min(most, len(self.free_slots) + len(chunk)):
            picture = line[0]
            if picture.ends_at_s is not None and picture.ends_at_s <= now_s:
                self._expired(line.popleft())
                continue
            if size_bytes and size_bytes + picture.size_bytes > self._most_bytes:
                break
            size_bytes += picture.size_bytes
            picture.slot = self.free_slots.popleft()
            chunk.append((next(self._tickets), line.popleft()))
        if chunk:
            process.send_work(chunk, now_s)
        return bool(chunk)
