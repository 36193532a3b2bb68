"""How far an ordered feed is done, and which of its items are done beyond that; no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(slots=True)
class _Entry:
    digest: bytes
    position: str
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Advance:
    """What has changed since the last `Watermark.advance`.

    Attributes:
        position: Where the feed continues: all items up to it have ended. None at its beginning.
        added: Digests of items that have ended beyond the position.
        removed: Those of earlier calls that are now before it.
    """

    position: str | None = None
    added: Collection[bytes] = ()
    removed: Collection[bytes] = ()


class Watermark:
    """Follows the items of an ordered feed from when they are read until they have ended.

    Args:
        position: Of the last item that is done, with all items before it; None if none is.
        beyond: Digests of items after it that are done as well.
    """

    def __init__(self, position: str | None, beyond: Collection[bytes]) -> None:
        self._position = position
        self._beyond = set(beyond)  # what the journal has
        self._fresh: set[bytes] = set()  # what has ended since the last call of `advance`
        self._entries: deque[_Entry] = deque()
        self._by_digest: dict[bytes, _Entry] = {}

    def __len__(self) -> int:
        """How many items were read after the position."""
        return len(self._entries)

    def read(self, digest: bytes, position: str) -> bool:
        """Note that an item was read.

        Returns:
            Whether it is to be done: it was not done before, and was not just read.
        """
        is_new = digest not in self._by_digest
        is_done = digest in self._beyond or not is_new
        entry = _Entry(digest, position, is_done)
        self._entries.append(entry)
        if is_new:
            self._by_digest[digest] = entry
        return not is_done

    def end(self, digest: bytes) -> None:
        """Note that an item has ended."""
        self._by_digest[digest].has_ended = True
        self._fresh.add(digest)

    def advance(self) -> Advance:
        """Move the position to the last item before the first one that has not ended."""
        removed = set()
        while self._entries and self._entries[0].has_ended:
            entry = self._entries.popleft()
            self._position = entry.position
            if self._by_digest.get(entry.digest) is entry:
                del self._by_digest[entry.digest]
            if entry.digest in self._beyond:
                removed.add(entry.digest)
        added = {digest for digest in self._fresh if digest in self._by_digest}
        self._fresh.clear()
        self._beyond = (self._beyond - removed) | added
        return Advance(self._position, added, removed)
