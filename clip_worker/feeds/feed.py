"""What a bulk run asks of the place that its images come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_worker.feeds.item import Item


class Feed(Protocol):
    """Yields the images of a place."""

    @property
    def total(self) -> int | None:
        """How many images there are; None if that is not known without reading them all."""

    def items(self, position: str | None) -> Iterator[Item]:
        """Yield images in a fixed order.

        Args:
            position: Where to continue, the `position` of an item; None to begin.

        Raises:
            ServiceError: `FEED_FAILED`: the place can't be read.
        """
