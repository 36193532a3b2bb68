"""The nearest embeddings by comparing all of them."""

from __future__ import annotations

import numpy as np

from worker.embeddings.nearest import nearest
from worker.embeddings.store import EmbeddingBatch


def batch(contents: str, features: list[list[float]]) -> EmbeddingBatch:
    return EmbeddingBatch([*contents], [*contents.upper()], np.array(features, np.float32), "1")


def test_of_equally_near_images_the_first_by_content_are_taken_wherever_they_lie() -> None:
    same = [[0.6, 0.8]] * 4
    batches = [
        batch("hfdb", same),
        batch("gexy", [*same[:2], [0, 1], [1, 0]]),
        batch("ac", same[:2]),
    ]

    hits = nearest(batches, np.array([0, 1], np.float32), 4)

    assert [hit.content for hit in hits] == ["x", "a", "b", "c"]
    assert [hit.image for hit in hits] == ["X", "A", "B", "C"]


def test_of_a_content_that_occurs_twice_the_last_embedding_counts() -> None:
    batches = [batch("ab", [[0, 1], [0.6, 0.8]]), batch("a", [[1, 0]])]

    hits = nearest(batches, np.array([0, 1], np.float32), 9)

    assert [(hit.content, round(hit.cosine, 3)) for hit in hits] == [("b", 0.8), ("a", 0.0)]
