"""Which messages may be deleted: those of which all images are done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator


class Receipts:
    """Remembers the receipts of messages that are not deleted yet.

    A message may be about several images, and several messages about the same one.

    Attributes:
        images: How many images the messages had, one that several are about counted for each.
    """

    def __init__(self) -> None:
        self.images = 0
        self._waiting: dict[str, set[str]] = {}  # keys, by receipt
        self._by_key: defaultdict[str, list[str]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, receipt: str) -> bool:
        return receipt in self._waiting

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._waiting))

    def add(self, receipt: str, keys: Collection[str]) -> None:
        """Remember a message until these images are done."""
        self._waiting[receipt] = set(keys)
        self.images += len(keys)
        for key in keys:
            self._by_key[key].append(receipt)

    def release(self, keys: Iterable[str]) -> list[str]:
        """Note that images are done.

        Returns:
            The receipts of messages that were waiting for no others.
        """
        released = []
        for key in keys:
            for receipt in self._by_key.pop(key, ()):
                left = self._waiting[receipt]
                left.discard(key)
                self.images -= 1
                if not left:
                    del self._waiting[receipt]
                    released.append(receipt)
        return released
