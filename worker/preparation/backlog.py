"""Pictures that wait for a process, and the slots that are free for them."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from worker.preparation.handle import Picture, ProcessHandle
from worker.preparation.settings import CHUNK, PreparationSettings


class Backlog:
    """Hands pictures to processes, in the order of their coming.

    Args:
        settings: Of these, the slots and how much a process may have in hand.
        expired: Called with each picture that nobody wants any more.
    """

    def __init__(self, settings: PreparationSettings, expired: Callable[[Picture], None]) -> None:
        self._window = settings.window
        self._most_bytes = settings.file_bytes_each
        self._expired = expired
        self.waiting: deque[Picture] = deque()
        self.suspects: deque[Picture] = deque()
        self.free_slots: deque[int] = deque(range(settings.slots))
        self._tickets = itertools.count(1)

    def put_back(self, pictures: Sequence[Picture]) -> None:
        """Let pictures that a process had in hand wait again, before all others."""
        for picture in reversed(pictures):
            self.free_slots.append(picture.slot)
            picture.slot = -1
            if not picture.is_cancelled:
                (self.suspects if picture.is_suspect else self.waiting).appendleft(picture)

    def dispatch(self, processes: Sequence[ProcessHandle]) -> None:
        """Hand out what can be handed out now.

        Args:
            processes: Those that are in order.
        """
        for process in processes:
            if not process.in_hand:
                process.is_alone = False
                if self.suspects and self.free_slots:
                    process.is_alone = True
                    self._send(process, self.suspects, 1)
        able = [each for each in processes if not each.is_alone and not each.is_slow]
        if self.suspects and len(able) == len(processes) > 1:  # one has to become idle
            able.remove(min(able, key=lambda each: len(each.in_hand)))
        while self.waiting and self.free_slots and able:
            process = min(able, key=lambda each: len(each.in_hand))
            share = math.ceil(len(self.waiting) / len(able))
            room = self._window - len(process.in_hand)
            if not self._send(process, self.waiting, min(CHUNK, share, room)):
                able.remove(process)

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
