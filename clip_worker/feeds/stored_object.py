"""An object of a bucket as an item, the same from listings and notifications."""

from __future__ import annotations

import re
from typing import NamedTuple

from clip_worker.errors import InvalidRequestError
from clip_worker.feeds.file_names import is_image_object
from clip_worker.feeds.item import Item
from clip_worker.quoting import quote

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")  # Google's may have dots, and be long


class StoredObject(NamedTuple):
    """An object, as it was at some time.

    Attributes:
        scheme: Of its URI: `s3` or `gs`.
        bucket: Name of its bucket.
        key: Its key, not percent-encoded.
        version: What distinguishes its content from other content under the same key: the entity
            tag, or else a version id.
    """

    scheme: str
    bucket: str
    key: str
    version: str

    def item(self) -> Item | None:
        """The object as an item; None if its key is not that of an image."""
        if not is_image_object(self.key):
            return None
        uri = f"{self.scheme}://{self.bucket}/{self.key}"
        version = self.version.strip('"')  # quoted in listings, not in notifications
        return Item(f"{uri} {version}", uri)


def checked_bucket(name: str) -> str:
    """The name of a bucket, if it may be one.

    Raises:
        InvalidRequestError: `BAD_PLACE`.
    """
    if not _BUCKET.fullmatch(name):
        raise InvalidRequestError(
            f"{quote(name)} is not the name of a bucket; letters, digits, dots, hyphens and "
            "underscores are allowed.",
            "BAD_PLACE",
        )
    return name
