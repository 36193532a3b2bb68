"""Collects what a place yields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Collection

    from clip_worker.feeds.arrivals import Arrivals
    from clip_worker.feeds.item import Item


class Arrived:
    """Polls a place as a run does, and remembers what it has yielded.

    Args:
        arrivals: The place; it is opened.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals
        self.items: list[Item] = []
        arrivals.open(self._seen)

    @property
    def keys(self) -> list[str]:
        return [item.key for item in self.items]

    @property
    def images(self) -> list[str]:
        return [item.image for item in self.items]

    def poll(self, timeout_s: float = 0.0) -> list[Item]:
        """What is new."""
        found = [i for i in self.arrivals.poll(timeout_s, 1000) if i.key not in self.keys]
        self.items += found
        return found

    def wait_for(self, count: int) -> list[Item]:
        """Poll until so many items have come in all, and return those since the call."""
        before = len(self.items)

        def are_there() -> bool:
            self.poll(0.05)
            return len(self.items) >= count

        wait_until(are_there, lambda: f"only {self.images}", limit_s=LIMIT_S)
        return self.items[before:]

    def _seen(self, keys: Collection[str]) -> Collection[str]:
        return set(keys) & set(self.keys)
