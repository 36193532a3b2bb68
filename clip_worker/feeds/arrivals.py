"""What `watch` asks of the place that images arrive at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from clip_worker.feeds.item import Item

    # Those of the keys that have a row in the sink, or are in flight.
    Seen = Callable[[Collection[str]], Collection[str]]


class Arrivals(Protocol):
    """Yields the images of a place as they arrive, in any order, without an end.

    All methods are called on one thread: `open`, then `poll` and `acknowledge` in turns, then
    `close`. An image may be yielded again until it is acknowledged, also by the same process: the
    caller skips an item whose key is in flight, and acknowledges one whose key has its row.
    """

    def open(self, seen: Seen) -> None:
        """Begin: what arrived while nobody watched is yielded, too.

        Args:
            seen: Which of these keys have their rows already, or are in flight; a place that lists
                everything again and again need not yield them.

        Raises:
            ServiceError: `FEED_FAILED`: the place can't be read.
        """

    def poll(self, timeout_s: float, most: int) -> Sequence[Item]:
        """Return what has arrived, at once if there is something.

        Args:
            timeout_s: Longest wait for the first image, in seconds.
            most: Maximum number of items.

        Raises:
            ServiceError: `FEED_FAILED`: the place can no longer be read.
        """

    def acknowledge(self, keys: Collection[str]) -> None:
        """Acknowledge images whose outcomes are durable, failures included.

        If the place can't be reached, the acknowledgement is sent later, or the image is yielded
        again.
        """

    def close(self) -> None:
        """Release what is open, also if `open` has failed; again does nothing.

        What was not acknowledged arrives again.
        """
