"""Memory that one picture has reserved of the budget (`worker.pipeline.memory_budget`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

FIRST_BYTES = 1024 * 1024  # reserved by a fetch that does not know yet how much it will need

Reserve = Callable[[int], None]


def unlimited(size_bytes: int) -> None:
    """Reserve without a budget."""


class NoRoomError(Exception):
    """A picture needs more than what is left now.

    Args:
        size_bytes: What it needs.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


class Budget(Protocol):
    """What reservations are of; `worker.pipeline.memory_budget.MemoryBudget` is one."""

    def resize(self, reservation: Reservation, size_bytes: int, *, anyhow: bool = False) -> bool:
        """Change a reservation, if there is room or anyhow; for less there always is."""

    def hold_back(self, reservation: Reservation, *, back: bool) -> None:
        """See `Reservation.hold_back`."""

    def release(self, reservation: Reservation) -> None:
        """See `Reservation.release`."""


class Reservation:
    """Bytes that one picture takes up. One thread at a time may use it."""

    __slots__ = ("_budget", "is_held_back", "is_over", "size_bytes")

    def __init__(self, budget: Budget, size_bytes: int) -> None:
        self._budget = budget
        self.size_bytes = size_bytes
        self.is_held_back = False
        self.is_over = False

    def grow(self, size_bytes: int) -> None:
        """Have at least so many bytes.

        Raises:
            NoRoomError: There is no room for so many now.
        """
        if size_bytes > self.size_bytes and not self._budget.resize(self, size_bytes):
            raise NoRoomError(size_bytes)

    def settle(self, size_bytes: int) -> None:
        """Have just as many bytes as are really taken up."""
        self._budget.resize(self, size_bytes, anyhow=True)

    def hold_back(self, *, back: bool) -> None:
        """Say whether the picture waits for others, and so can't make room by itself."""
        self._budget.hold_back(self, back=back)

    def release(self) -> None:
        """Give all back; again does nothing."""
        self._budget.release(self)


class Holder:
    """What one picture has reserved, if anything. Threads may share it: each step is atomic."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[Reservation] = []  # one at most

    def put(self, reservation: Reservation) -> None:
        """Take charge of a reservation."""
        self._held.append(reservation)

    def take(self) -> Reservation | None:
        """Hand the reservation over."""
        try:
            return self._held.pop()
        except IndexError:
            return None

    def release(self) -> None:
        """Give the reservation back."""
        if (reservation := self.take()) is not None:
            reservation.release()

    def hold_back(self, *, back: bool) -> None:
        """Say whether the picture waits for others, and so can't make room by itself."""
        for reservation in self._held:
            reservation.hold_back(back=back)
