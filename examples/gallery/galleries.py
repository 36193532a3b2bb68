"""All open galleries, within limits of number and bytes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from gallery import Gallery
from limits import MAX_GALLERIES, MAX_KEPT_BYTES


class Galleries:
    """Galleries by their ids, which are secrets: who knows one may see and change the gallery.

    Args:
        max_count: The most that are open. A new one takes the place of the oldest that no page
            listens to.
        max_bytes: The most bytes of uploads of all together.
    """

    def __init__(self, max_count: int = MAX_GALLERIES, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._galleries: dict[str, Gallery] = {}
        self._under_way = 0  # bytes of uploads that are in no gallery yet

    def open(self) -> tuple[str, list[Gallery]] | None:
        """Open a gallery.

        Returns:
            Its id, and the galleries that had to make room; None if there is no room.
        """
        ended = []
        while len(self._galleries) >= self._max_count:
            idle = (name for name, each in self._galleries.items() if not each.streams)
            if (oldest := next(idle, None)) is None:
                return None
            ended.append(self._galleries.pop(oldest))
        name = secrets.token_urlsafe(16)
        self._galleries[name] = Gallery()
        return name, ended

    def get(self, name: str) -> Gallery | None:
        """A gallery; None if there is none of that id."""
        return self._galleries.get(name)

    def close(self, name: str) -> Gallery | None:
        """Forget a gallery and return it; None if there is none of that id."""
        return self._galleries.pop(name, None)

    def close_all(self) -> list[Gallery]:
        """Forget all galleries and return them."""
        ended, self._galleries = [*self._galleries.values()], {}
        return ended

    @contextmanager
    def room_for(self, size_bytes: int) -> Iterator[bool]:
        """Whether another upload may be kept in Redis; until the end it counts as kept."""
        kept = self._under_way + sum(each.size_bytes for each in self._galleries.values())
        self._under_way += size_bytes
        try:
            yield kept + size_bytes <= self._max_bytes
        finally:
            self._under_way -= size_bytes
