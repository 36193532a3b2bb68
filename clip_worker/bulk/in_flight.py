"""The items that were sent and have not ended: how many there may be, and which end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from clip_worker.bulk.sender import PATIENCE_S
from clip_worker.client.handle import first_completed, lost
from clip_worker.errors import QueueUnavailableError, ResultTimeoutError

if TYPE_CHECKING:
    from clip_worker.bulk.sender import SentItem
    from clip_worker.feeds.item import Item

WAIT_S = 0.02  # longest wait of a read for the first result
LONGEST_PAUSE_S = 0.25  # between reads
LOOK_S = 15.0  # between two looks for what Redis has lost
LONGEST_LOOK_S = 600.0  # while it loses more and more, as one that evicts keys does
READS = 16  # while as many items end as are in flight: fewer reads with more results each


class InFlight:
    """The items in flight.

    Args:
        most: Maximum number of items.
        most_bytes: Maximum size of their uploads; the last one may exceed it.
        timeout_s: Longest wait for the next one to end, in seconds; None for no limit.
        sleep: Waits for a number of seconds.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        most: int,
        most_bytes: int,
        timeout_s: float | None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._clock = clock
        self._sent: dict[str, SentItem] = {}
        self._bytes = 0
        self._look_s = LOOK_S
        self._pause_s = 0.0
        self._read_at = self._reached_at = self._ended_at = self._looked_at = clock()

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def room(self) -> int:
        """How many more items may be sent."""
        return 0 if self._bytes >= self._most_bytes else self._most - len(self._sent)

    def affordable(self, items: Sequence[Item]) -> int:
        """How many of the items may be sent, in their order; a large one at least alone."""
        size, count = self._bytes, 0
        for item in items[: self.room]:
            if size >= self._most_bytes:
                break
            size += _size_of(item)
            count += 1
        return count

    def add(self, sent: Iterable[SentItem]) -> None:
        """Note what was sent."""
        if not self._sent:
            self._read_at = self._reached_at = self._ended_at = self._clock()
        for each in sent:
            self._sent[each.handle.id] = each
            self._bytes += each.size

    def wait(self) -> list[SentItem]:
        """Wait a moment, and return what has ended in it.

        Raises:
            ResultTimeoutError: Nothing has ended within `timeout_s`.
            QueueUnavailableError: Redis has been away for a minute.
        """
        self._sleep(max(0.0, self._read_at + self._pause_s - self._clock()))
        ended = self._read()
        self._pace(len(ended))
        self._take_out(ended)
        if ended:
            self._ended_at = self._read_at
        return ended

    def take_lost(self) -> list[SentItem]:
        """Take out what Redis has lost; looks every `LOOK_S`, less often while it finds some."""
        now = self._clock()
        if now - self._looked_at < self._look_s:
            return []
        self._looked_at = now
        try:
            handles = lost([each.handle for each in self._sent.values()])
        except QueueUnavailableError:  # the next look will tell
            return []
        found = [self._sent[handle.id] for handle in handles]
        self._take_out(found)
        self._look_s = min(LONGEST_LOOK_S, 2 * self._look_s) if found else LOOK_S
        return found

    def _take_out(self, items: Iterable[SentItem]) -> None:
        for each in items:
            del self._sent[each.handle.id]
            self._bytes -= each.size

    def _pace(self, ended: int) -> None:
        """Pause so long that the next read finds a good part of what is in flight."""
        now = self._clock()
        if ended:
            each_s = (now - self._read_at) / ended
            self._pause_s = min(LONGEST_PAUSE_S, each_s * len(self._sent) / READS)
        self._read_at = now

    def _read(self) -> list[SentItem]:
        handles = [each.handle for each in self._sent.values()]
        try:
            ended = first_completed(handles, timeout=WAIT_S)
        except ResultTimeoutError as error:
            self._reached_at = self._clock()
            if self._timeout_s is not None and self._reached_at - self._ended_at > self._timeout_s:
                raise self._timed_out(self._timeout_s) from error
            return []
        except QueueUnavailableError:
            if self._clock() - self._reached_at > PATIENCE_S:
                raise
            return []
        self._reached_at = self._clock()
        return [self._sent[handle.id] for handle in ended]

    def _timed_out(self, timeout_s: float) -> ResultTimeoutError:
        return ResultTimeoutError(
            f"None of {len(self._sent):,} images in flight has ended within {timeout_s:g} s; check "
            "that a worker is running (`clip-worker start`), and run the same command again to "
            "continue."
        )


def _size_of(item: Item) -> int:
    if item.path is None:
        return 0
    try:
        return item.path.stat().st_size
    except (OSError, ValueError):  # then it can't be read either
        return 0
