"""Which items a run sends next, and what its journal keeps of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from clip_worker.bulk.digest import digest_of
from clip_worker.bulk.failures import failed_item
from clip_worker.bulk.watermark import Advance, Watermark

if TYPE_CHECKING:
    from collections.abc import Collection

    from clip_worker.bulk.journal import Journal
    from clip_worker.feeds.arrivals import Arrivals
    from clip_worker.feeds.feed import Feed
    from clip_worker.feeds.item import Item

MOST_AHEAD = 50_000  # items that are read beyond one that takes long


class Supply(Protocol):
    """Yields the items of a run that have not ended, each once.

    Attributes:
        is_retry: Whether its items had failed before.
        is_exhausted: Whether there are no more.
    """

    is_retry: bool
    is_exhausted: bool

    @property
    def total(self) -> int | None:
        """How many items there are, those that have ended included; None if that is not known."""

    def open(self) -> None:
        """Begin, after the journal."""

    def take(self, most: int, wait_s: float) -> list[Item]:
        """The next items; perhaps none, although it is not exhausted.

        Args:
            most: Maximum number of items, at least 1.
            wait_s: Longest wait for the first one, in seconds.
        """

    def end(self, items: Sequence[Item]) -> Advance:
        """Note that items have ended, and return what the journal has to keep."""

    def committed(self, items: Sequence[Item]) -> None:
        """Acknowledge items whose rows and journal entries are durable."""

    def finish(self) -> None:
        """Note in the journal that all items have ended."""

    def close(self) -> None:
        """Release what is open; again does nothing."""


class FeedSupply:
    """The items of a feed, in its order.

    Args:
        feed: The feed.
        journal: Has where it continues.
    """

    is_retry = False

    def __init__(self, feed: Feed, journal: Journal) -> None:
        self._feed = feed
        self._journal = journal
        self._watermark = Watermark(None, ())
        self._items: Iterator[Item] = iter(())
        self.is_exhausted = False

    @property
    def total(self) -> int | None:
        """As the feed knows it."""
        return self._feed.total

    def open(self) -> None:
        """See `Supply.open`."""
        self._watermark = Watermark(self._journal.position, self._journal.beyond())
        self._items = iter(self._feed.items(self._journal.position))

    def take(self, most: int, wait_s: float) -> list[Item]:  # noqa: ARG002  # a feed does not wait
        """See `Supply.take`."""
        taken: list[Item] = []
        while len(taken) < most and len(self._watermark) < MOST_AHEAD:
            item = next(self._items, None)
            if item is None:
                self.is_exhausted = True
                break
            if self._watermark.read(digest_of(item.key), item.position):
                taken.append(item)
        return taken

    def end(self, items: Sequence[Item]) -> Advance:
        """See `Supply.end`."""
        for item in items:
            self._watermark.end(digest_of(item.key))
        return self._watermark.advance()

    def committed(self, items: Sequence[Item]) -> None:
        """A feed needs no acknowledgement."""

    def finish(self) -> None:
        """See `Supply.finish`. A feed without items may have some later."""
        if self._journal.done or self._journal.failed:
            self._journal.complete()

    def close(self) -> None:
        """Nothing is open."""


class ArrivalSupply:
    """Items that arrive in any order, without an end; the journal keeps the keys of all.

    Args:
        arrivals: Where they come from.
        journal: Has the keys of those that have ended.
    """

    is_retry = False
    is_exhausted = False
    total = None

    def __init__(self, arrivals: Arrivals, journal: Journal) -> None:
        self._arrivals = arrivals
        self._journal = journal
        self._in_flight: set[str] = set()

    def open(self) -> None:
        """See `Supply.open`."""
        self._arrivals.open(self._seen)

    def take(self, most: int, wait_s: float) -> list[Item]:
        """See `Supply.take`."""
        items = {item.key: item for item in self._arrivals.poll(wait_s, most)}
        if ended := self._journal.has_ended(items):
            self._arrivals.acknowledge(ended)
        fresh = [items[key] for key in items if key not in ended and key not in self._in_flight]
        self._in_flight.update(item.key for item in fresh)
        return fresh

    def end(self, items: Sequence[Item]) -> Advance:
        """See `Supply.end`."""
        return Advance(added=[digest_of(item.key) for item in items])

    def committed(self, items: Sequence[Item]) -> None:
        """See `Supply.committed`."""
        keys = [item.key for item in items]
        self._in_flight.difference_update(keys)
        self._arrivals.acknowledge(keys)

    def finish(self) -> None:
        """There is no end."""

    def close(self) -> None:
        """See `Supply.close`."""
        self._arrivals.close()

    def _seen(self, keys: Collection[str]) -> set[str]:
        return self._journal.has_ended(keys) | (self._in_flight & set(keys))


class FailedSupply:
    """The items of a run that have failed, to be sent again.

    Args:
        journal: Has their records.
        only_passing: Only those where another attempt may succeed.
    """

    is_retry = True
    total = None

    def __init__(self, journal: Journal, *, only_passing: bool) -> None:
        self._journal = journal
        self._only_passing = only_passing
        self._items: Iterator[Item] = iter(())
        self.is_exhausted = False

    def open(self) -> None:
        """See `Supply.open`."""
        self._journal.begin_retry()
        records = self._journal.failures_to_retry(only_passing=self._only_passing)
        self._items = map(failed_item, records)

    def take(self, most: int, wait_s: float) -> list[Item]:  # noqa: ARG002  # as for a feed
        """See `Supply.take`."""
        taken = [item for _, item in zip(range(most), self._items, strict=False)]
        self.is_exhausted = len(taken) < most
        return taken

    def end(self, items: Sequence[Item]) -> Advance:  # noqa: ARG002  # the failures are kept
        """See `Supply.end`."""
        return Advance()

    def committed(self, items: Sequence[Item]) -> None:
        """A feed needs no acknowledgement."""

    def finish(self) -> None:
        """See `Supply.finish`."""
        self._journal.end_retry()

    def close(self) -> None:
        """Nothing is open."""
