"""Images that arrive in a bucket, found by listing it again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from clip_worker.feeds.aws import aws_client, translated
from clip_worker.feeds.background import Background
from clip_worker.feeds.item import Item
from clip_worker.feeds.stored_object import StoredObject, checked_bucket
from clip_worker.quoting import quote

if TYPE_CHECKING:
    from clip_worker.feeds.arrivals import Seen

POLL_S = 30.0
PAGE = 1000  # objects; the most that a request lists
PAGES = 4  # that are read ahead


class BucketArrivals:
    """Yields each object below a prefix, and again when its content changes.

    The entity tag tells content apart. What has its row already is known from the journal, so a
    listing may end and begin anywhere.

    Args:
        bucket: Its name.
        prefix: What the keys begin with; it may be empty.
        poll_s: Seconds from the end of a listing to the next one.
    """

    def __init__(self, bucket: str, prefix: str, *, poll_s: float = POLL_S) -> None:
        self._bucket = checked_bucket(bucket)
        self._prefix = prefix
        self._poll_s = poll_s
        self._background = Background("bucket-listing", self._pages, PAGES)
        self._items: deque[Item] = deque()
        self._seen: Seen = frozenset
        self._is_first = True
        self._client: Any = None

    def open(self, seen: Seen) -> None:
        """Begin to list; see `Arrivals`."""
        self._seen = seen
        self._client = aws_client("s3")
        with self._translated():
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        self._background.start()

    def poll(self, timeout_s: float, most: int) -> Sequence[Item]:
        """Return objects that are new; see `Arrivals`."""
        if not self._items:
            page = self._background.take(timeout_s) or ()
            seen = self._seen([item.key for item in page])
            self._items.extend(item for item in page if item.key not in seen)
        return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def acknowledge(self, keys: Collection[str]) -> None:
        """Nothing is kept of an object that was yielded."""

    def close(self) -> None:
        """Stop listing."""
        self._background.stop()
        if self._client is not None:
            self._client.close()

    def _pages(self) -> Iterator[Sequence[Item]]:
        """On the background's thread."""
        if not self._is_first:
            self._background.pause(self._poll_s)
        self._is_first = False
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, PaginationConfig={"PageSize": PAGE}
        )
        with self._translated():
            for page in pages:
                found = (self._item(entry) for entry in page.get("Contents", ()))
                yield [item for item in found if item is not None]

    def _item(self, entry: Any) -> Item | None:
        return StoredObject("s3", self._bucket, entry["Key"], entry["ETag"]).item()

    def _translated(self) -> Any:
        return translated(f"The bucket {quote(self._bucket)}")
