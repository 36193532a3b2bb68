"""Access to the label sets of a Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from clip_worker.redis.label_sets import LabelSets
from clip_worker.redis.url import check_redis_url, connect


@contextlib.contextmanager
def label_sets(redis_url: str) -> Iterator[LabelSets]:
    """Connect to the label sets of a Redis."""
    with connect(check_redis_url(redis_url)) as redis:
        yield LabelSets(redis)
