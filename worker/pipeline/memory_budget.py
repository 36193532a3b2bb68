"""One budget in bytes for all pictures that a worker has in hand: fetched, waiting, being decoded.

A fetch reserves a megabyte before it asks for a picture, and all of a larger one before it reads
it; if there is no room it ends, and the picture waits in a line, on no thread, to be fetched anew.
What is reserved is for the picture's file, then for its pixels, until its answer is there.

Files may take up half of the budget; the other half is for decoding. Pictures of up to a megabyte
have a quarter of the files' half to themselves, and larger ones the rest, so that neither has to
wait until no others come. Each kind waits in the order of its coming.

Nothing waits for ever. One file may be larger than what there is, if no other large one is in hand,
and so may one decode. And where all that was reserved is held back (`Reservation.hold_back`), the
first who waits goes on, for it may be what the others are held back for.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

from clip_engine.errors import ImageError
from worker.sources.reservation import FIRST_BYTES, Reservation, Reserve

logger = logging.getLogger(__name__)

_MB = 1_000_000
_LARGE_BYTES = 4 * 1024 * 1024


class Waiter(Protocol):
    """Somebody who waits for room."""

    def admit(self, reservation: Reservation) -> None:
        """Take what was waited for; called once, on any thread."""


class _Waiting(NamedTuple):
    number: int
    size_bytes: int
    waiter: Waiter


class MemoryBudget:
    """Says who may take memory now. Threads may share it.

    Args:
        total_bytes: For all pictures together.
        most_bytes: More than this a decode can't have, whatever else is in hand; None if that is
            not known.
        return_freed: Called when a large picture was decoded, to return memory to the system.
    """

    def __init__(
        self,
        total_bytes: int,
        *,
        most_bytes: int | None = None,
        return_freed: Callable[[], None] = lambda: None,
    ) -> None:
        self.total_bytes = total_bytes
        self._most_bytes = most_bytes
        self._return_freed = return_freed
        self._most_files = total_bytes // 2
        self._small_share = max(FIRST_BYTES, self._most_files // 4)
        self._used = 0  # by reservations
        self._large_used = 0  # of these, by those above FIRST_BYTES
        self._moving = 0  # reservations that are not held back
        self._decoding = 0  # bytes, on top
        self._small: deque[_Waiting] = deque()
        self._large: deque[_Waiting] = deque()
        self._number = itertools.count()
        self._admitted: deque[tuple[Waiter, Reservation]] = deque()  # who has not been told yet
        self._tellers: set[int] = set()  # threads that tell them
        self._decoders: deque[object] = deque()  # threads that wait, in turn
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def used_bytes(self) -> int:
        """What is taken up now."""
        return self._used + self._decoding

    @property
    def waiting(self) -> int:
        """Pictures that wait for room."""
        return len(self._small) + len(self._large)

    def reserve(self, size_bytes: int) -> Reservation | None:
        """Take room at once; None if there is none, or others wait for it."""
        with self._lock:
            is_turn = not self._line(size_bytes) and self._fits(size_bytes)
            return self._take(size_bytes) if is_turn else None

    def wait(self, size_bytes: int, waiter: Waiter) -> None:
        """Have the waiter admitted, perhaps at once, when its turn has come and there is room."""
        with self._lock:
            waiting = _Waiting(next(self._number), size_bytes, waiter)
            self._line(size_bytes).append(waiting)
            self._admit()
        self._tell()

    def resize(self, reservation: Reservation, size_bytes: int, *, anyhow: bool = False) -> bool:
        """Change a reservation, if there is room or anyhow; for less there always is."""
        with self._lock:
            before = reservation.size_bytes
            self._count(before, -1)
            fits = (
                anyhow
                or size_bytes <= before
                or (not self._line(size_bytes) and self._fits(size_bytes))
            )
            reservation.size_bytes = size_bytes if fits else before
            self._count(reservation.size_bytes, +1)
            if size_bytes < before:
                self._admit()
        self._tell()
        return fits

    def hold_back(self, reservation: Reservation, *, back: bool) -> None:
        """See `Reservation.hold_back`."""
        with self._lock:
            if not reservation.is_over and reservation.is_held_back != back:
                reservation.is_held_back = back
                self._moving += -1 if back else 1
            self._admit()
        self._tell()

    def release(self, reservation: Reservation) -> None:
        """See `Reservation.release`."""
        with self._lock:
            if reservation.is_over:
                return
            reservation.is_over = True
            self._count(reservation.size_bytes, -1)
            self._moving -= not reservation.is_held_back
            self._admit()
        self._tell()

    @contextmanager
    def decoding(self, file_bytes: int) -> Iterator[Reserve]:
        """Let a thread decode one picture.

        Args:
            file_bytes: Size of its file.

        Yields:
            Reserves what the decoding takes, and waits for it; called once. It raises `ImageError`
            if there will never be enough.
        """
        reserved: list[int] = []

        def reserve(size_bytes: int) -> None:
            if self._most_bytes is not None and size_bytes > self._most_bytes:
                raise _too_much(size_bytes, self._most_bytes)
            self._wait_to_decode(size_bytes)
            reserved.append(size_bytes)

        try:
            yield reserve
        finally:
            taken = sum(reserved)
            if taken + file_bytes >= _LARGE_BYTES:
                self._return_freed()
            with self._lock:
                self._decoding -= taken
                if self._decoders:
                    self._changed.notify_all()

    def _wait_to_decode(self, size_bytes: int) -> None:
        with self._lock:
            if self._decoders or not self._may_decode(size_bytes):
                turn = object()
                self._decoders.append(turn)
                while self._decoders[0] is not turn or not self._may_decode(size_bytes):
                    self._changed.wait()
                self._decoders.popleft()
                self._changed.notify_all()
            self._decoding += size_bytes

    def _may_decode(self, size_bytes: int) -> bool:
        return not self._decoding or self.used_bytes + size_bytes <= self.total_bytes

    def _line(self, size_bytes: int) -> deque[_Waiting]:
        return self._large if size_bytes > FIRST_BYTES else self._small

    def _count(self, size_bytes: int, sign: int) -> None:
        self._used += sign * size_bytes
        if size_bytes > FIRST_BYTES:
            self._large_used += sign * size_bytes

    def _fits(self, size_bytes: int) -> bool:
        small_used = self._used - self._large_used
        is_room = self._used + size_bytes <= self._most_files
        if size_bytes > FIRST_BYTES:
            if not self._large_used:
                return is_room or small_used <= self._small_share
            most = self._most_files - self._small_share
            return is_room and self._large_used + size_bytes <= most
        if not small_used or small_used + size_bytes <= self._small_share:
            return True
        return is_room and not self._large

    def _take(self, size_bytes: int) -> Reservation:
        self._count(size_bytes, +1)
        self._moving += 1
        return Reservation(self, size_bytes)

    def _admit(self) -> None:
        """Let go on whoever may, now that something has changed; they are counted in."""
        for line in (self._large, self._small):
            while line and self._fits(line[0].size_bytes):
                self._admit_first(line)
        lines = [line for line in (self._large, self._small) if line]
        if lines and not self._moving:
            self._admit_first(min(lines, key=lambda line: line[0].number))
        if self._decoders:
            self._changed.notify_all()

    def _admit_first(self, line: deque[_Waiting]) -> None:
        first = line.popleft()
        self._admitted.append((first.waiter, self._take(first.size_bytes)))

    def _tell(self) -> None:
        """Tell those who may go on, without the lock, for they may do anything.

        One that has ended gives its room to the next: in turn, not one call inside the other.
        """
        thread = threading.get_ident()
        if not self._admitted or thread in self._tellers:
            return
        self._tellers.add(thread)
        with suppress(IndexError):  # that it is empty, perhaps because another thread was faster
            while True:
                _tell_one(*self._admitted.popleft())
        self._tellers.discard(thread)


def _tell_one(waiter: Waiter, reservation: Reservation) -> None:
    try:
        waiter.admit(reservation)
    except Exception:  # a bug must not fail the picture that has just made room
        logger.exception("A picture was not told that there is room for it")
        reservation.release()


def _too_much(size_bytes: int, most_bytes: int) -> ImageError:
    return ImageError(
        f"The picture has too many pixels: to decode it takes about {size_bytes // _MB} MB of "
        f"memory, and this worker may have {most_bytes // _MB} MB at most; give a smaller one.",
        "TOO_MANY_PIXELS",
    )
