"""Who may decode a large picture now: a few at a time, within the memory that all share."""

from __future__ import annotations


class MemoryGrants:
    """Grants, by ticket.

    Args:
        total_bytes: What there is to share, beyond what each process has for itself.
        most: Grants at a time. With fewer than there may be processes, small pictures always find
            one that no large picture holds up.
    """

    def __init__(self, total_bytes: int, most: int) -> None:
        self.total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._most = most
        self._granted: dict[int, int] = {}

    def is_free(self, size_bytes: int) -> bool:
        """Whether there is one more, of this size."""
        return len(self._granted) < self._most and size_bytes <= self._free_bytes

    def has(self, ticket: int, size_bytes: int) -> bool:
        """Whether so much is granted to this one."""
        return self._granted.get(ticket, -1) >= size_bytes

    def take(self, ticket: int, size_bytes: int) -> None:
        """Grant one, if that is free."""
        self._granted[ticket] = size_bytes
        self._free_bytes -= size_bytes

    def release(self, ticket: int) -> None:
        """A picture is through, if it had a grant."""
        self._free_bytes += self._granted.pop(ticket, 0)
