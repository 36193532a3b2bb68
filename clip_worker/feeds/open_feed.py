"""Makes the feed that `--from` names."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from clip_worker.errors import InvalidRequestError
from clip_worker.feeds.bucket_feed import BucketFeed
from clip_worker.feeds.csv_feed import CsvFeed
from clip_worker.feeds.feed import Feed
from clip_worker.feeds.folder_feed import FolderFeed, GlobFeed
from clip_worker.feeds.jsonl_feed import JsonlFeed
from clip_worker.feeds.lines_feed import LinesFeed
from clip_worker.feeds.parquet_feed import ParquetFeed
from clip_worker.quoting import shown_uri

TABLES: Mapping[str, Callable[[Path, str | None, Path | None], Feed]] = {
    ".csv": CsvFeed,
    ".tsv": CsvFeed,
    ".jsonl": JsonlFeed,
    ".ndjson": JsonlFeed,
    ".parquet": ParquetFeed,
}
_S3 = "s3://"


def open_feed(source: str, *, column: str | None = None, root: Path | None = None) -> Feed:
    """The feed of a place. Nothing is read before its items are asked for.

    Args:
        source: A table (`.csv`, `.tsv`, `.jsonl`, `.parquet`), a list (`.txt`), a folder, a glob,
            or `s3://bucket/prefix/`.
        column: Column of a table that has the images.
        root: Folder that paths in a table or list are relative to.

    Raises:
        InvalidRequestError: `BAD_FEED`: it is not one of these, or an option does not fit it.
    """
    suffix = Path(source).suffix.lower()
    if source.startswith(_S3):
        feed: Feed = _bucket(source)
    elif os.path.isdir(source):  # noqa: PTH112  # a str keeps './'
        feed = FolderFeed(source)
    elif os.path.isfile(source) and suffix in TABLES:  # noqa: PTH113  # a str keeps './'
        return TABLES[suffix](Path(source), column, root)
    elif os.path.isfile(source) and suffix == ".txt":  # noqa: PTH113  # a str keeps './'
        feed = LinesFeed(Path(source), root)
    elif glob.has_magic(source) and not os.path.exists(source):  # noqa: PTH110  # a str keeps './'
        feed = GlobFeed(source)
    else:
        raise _unknown(source)
    if column is not None:
        raise InvalidRequestError(
            f"{shown_uri(source)} has no columns, so leave out --image-column.", "BAD_FEED"
        )
    return feed


def version_of(source: str) -> str:
    """What tells a table from itself after a change; empty for other places.

    A folder or a bucket may change while it is read: its order does not depend on what is added.
    """
    if os.path.isfile(source):  # noqa: PTH113  # a str keeps './'
        found = os.stat(source)  # noqa: PTH116  # a str keeps './'
        changed = datetime.fromtimestamp(found.st_mtime_ns / 1e9, UTC)
        return f"{found.st_size:,} bytes of {changed.isoformat(' ')}"
    return ""


def _bucket(source: str) -> BucketFeed:
    bucket, _, prefix = source.removeprefix(_S3).partition("/")
    return BucketFeed(bucket, prefix)


def _unknown(source: str) -> InvalidRequestError:
    is_there = os.path.exists(source)  # noqa: PTH110  # as above
    why = "is none of these" if is_there or "://" in source else "is not there"
    return InvalidRequestError(
        f"{shown_uri(source)} {why}: give a table ({', '.join(TABLES)}), a list (.txt), a folder, "
        "a glob in quotation marks, or s3://bucket/prefix/.",
        "BAD_FEED",
    )
