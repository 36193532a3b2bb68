"""The objects of a bucket, in the order of their keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from clip_worker.errors import TemporaryError
from clip_worker.feeds.aws import aws_client, translated
from clip_worker.feeds.file_names import is_image_object
from clip_worker.feeds.item import Item
from clip_worker.feeds.stored_object import checked_bucket
from clip_worker.quoting import quote

PAGE = 1000  # objects; the most that a request lists
FIRST_PAUSE_S, PATIENCE_S = 1.0, 60.0


class BucketFeed:
    """The images below a prefix, listed page by page.

    A position is a key (`StartAfter`), so it stays valid if objects are added or removed.

    Args:
        bucket: Its name.
        prefix: What the keys begin with; it may be empty.
        sleep: Waits for a number of seconds.
    """

    total = None  # nobody knows before all are listed

    def __init__(
        self, bucket: str, prefix: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._bucket = checked_bucket(bucket)
        self._prefix = prefix
        self._sleep = sleep

    def items(self, position: str | None) -> Iterator[Item]:
        """See `Feed.items`."""
        client = aws_client("s3")
        try:
            after: str | None = position or ""
            while after is not None:
                keys, after = self._page(client, after)
                for key in filter(is_image_object, keys):
                    uri = f"s3://{self._bucket}/{key}"
                    yield Item(uri, uri, position=key)
        finally:
            client.close()

    def _page(self, client: Any, after: str) -> tuple[list[str], str | None]:
        """The keys after one, and the last of them; None if there are no more."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                with translated(f"The bucket {quote(self._bucket)}"):
                    page = client.list_objects_v2(
                        Bucket=self._bucket, Prefix=self._prefix, StartAfter=after, MaxKeys=PAGE
                    )
                break
            except TemporaryError:
                if pause_s > PATIENCE_S:
                    raise
            self._sleep(pause_s)
            pause_s *= 2
        keys = [entry["Key"] for entry in page.get("Contents", ())]
        return keys, keys[-1] if page.get("IsTruncated") and keys else None
