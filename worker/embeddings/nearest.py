"""The nearest embeddings by comparing all of them, for stores without an index.

Axes: N embeddings of a batch, D numbers each.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np

from worker.embeddings.store import EmbeddingBatch, Hit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def nearest(batches: Iterable[EmbeddingBatch], feature: NDArray[np.float32], k: int) -> list[Hit]:
    """The k nearest images by cosine, the nearest first; equal ones by content.

    Args:
        batches: All embeddings; a content may occur several times.
        feature: float32 `[D]`, of length 1.
        k: Most hits.
    """
    found: dict[str, Hit] = {}
    for batch in batches:
        cosines = np.clip(batch.features.astype(np.float32, copy=False) @ feature, -1, 1)  # [N]
        least = np.partition(cosines, -k)[-k] if k < len(cosines) else -1.0  # of the k best
        for i in np.flatnonzero(cosines >= least).tolist():
            hit = Hit(batch.images[i], batch.contents[i], float(cosines[i]))
            found[hit.content] = hit
        found = {hit.content: hit for hit in heapq.nsmallest(k, found.values(), key=_order)}
    return list(found.values())


def _order(hit: Hit) -> tuple[float, str]:
    return -hit.cosine, hit.content
