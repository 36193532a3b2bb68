"""A queue in which tenants take turns, as they do in Redis (`worker/delivery/lua/take.lua`)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class TurnQueue(Generic[Item]):
    """First in, first out for each tenant; one item of each tenant in turn.

    A tenant whose items are gone is forgotten. It is not locked.

    >>> queue = TurnQueue[str](lambda item: item[0])
    >>> queue.extend(["a1", "a2", "a3", "b1"])
    >>> [queue.popleft() for _ in range(4)]
    ['a1', 'b1', 'a2', 'a3']

    Args:
        tenant_of: Names the tenant of an item.
    """

    def __init__(self, tenant_of: Callable[[Item], str]) -> None:
        self._tenant_of = tenant_of
        self._lines: OrderedDict[str, deque[Item]] = OrderedDict()  # the next one's first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """All items, those of one tenant after those of another."""
        for line in self._lines.values():
            yield from line

    def append(self, item: Item) -> None:
        """Add an item behind the others of its tenant."""
        self._line_of(item).append(item)
        self._count += 1

    def extend(self, items: Iterable[Item]) -> None:
        """Add items in their order."""
        for item in items:
            self.append(item)

    def appendleft(self, item: Item) -> None:
        """Put an item back: it is the next one."""
        self._line_of(item).appendleft(item)
        self._lines.move_to_end(self._tenant_of(item), last=False)
        self._count += 1

    def firsts(self) -> list[Item]:
        """The first item of each tenant; that of the next turn comes first."""
        return [line[0] for line in self._lines.values()]

    def peek(self) -> Item:
        """The next item.

        Raises:
            IndexError: There is none.
        """
        if not self._lines:
            raise IndexError("the queue is empty")
        return next(iter(self._lines.values()))[0]

    def popleft(self) -> Item:
        """Remove and return the next item.

        Raises:
            IndexError: There is none.
        """
        if not self._lines:
            raise IndexError("the queue is empty")
        tenant, line = next(iter(self._lines.items()))
        item = line.popleft()
        self._count -= 1
        if line:
            self._lines.move_to_end(tenant)
        else:
            del self._lines[tenant]
        return item

    def _line_of(self, item: Item) -> deque[Item]:
        return self._lines.setdefault(self._tenant_of(item), deque())
