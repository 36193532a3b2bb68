"""The K best labels of each image.

Axes: B images, L labels, N nodes of a level.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from clip_engine.scoring.hierarchy import LabelTree
from clip_engine.scoring.logits import Probabilities
from clip_engine.topk import top_k_of_numbers


class Level(NamedTuple):
    """The up to K best nodes of a level of a hierarchy, best first, ties by index."""

    indices: list[int]
    probabilities: list[float]


class Ranking(NamedTuple):
    """The best labels of images: in each list a row an image, best first, ties by index.

    Attributes:
        probabilities: Of up to K labels; for `sigmoid` each label's own, else the softmax.
        indices: Of these labels.
        scores: Their cosines or logits, where these were asked for.
        none_of_these: The probability that no label fits, where that was asked for.
        levels: Of a hierarchy: for each image its levels, beginning with the broadest.
    """

    probabilities: list[list[float]]
    indices: list[list[int]]
    scores: list[list[float]] | None = None
    none_of_these: list[float] | None = None
    levels: list[list[Level]] | None = None


def best(
    chances: Probabilities,
    scores: Tensor | None,
    k: int,
    tree: LabelTree | None = None,
    *,
    independent: bool = False,
) -> Ranking:
    """The K best labels of each image; `k` must be valid.

    Args:
        chances: Of the labels, without NaN.
        scores: What orders the labels, `[B, L]`; None for their probabilities.
        k: K.
        tree: Of hierarchical labels.
        independent: Whether the probabilities are each label's own, and don't sum to 1. Then a node
            gets the largest of its leaves instead of their sum.
    """
    values, indices = top_k_of_numbers(chances.labels if scores is None else scores, k)
    of_labels = values if scores is None else chances.labels.gather(1, torch.as_tensor(indices))
    return Ranking(
        of_labels.tolist(),
        indices.tolist(),
        None if scores is None else values.tolist(),
        None if chances.none is None else chances.none.tolist(),
        None if tree is None else _levels(tree, chances.labels, k, independent=independent),
    )


def _levels(tree: LabelTree, chances: Tensor, k: int, *, independent: bool) -> list[list[Level]]:
    of_nodes = tree.largest(chances) if independent else tree.sums(chances)
    found = [top_k_of_numbers(level, k) for level in of_nodes]
    rows = [zip(level.indices.tolist(), level.values.tolist(), strict=True) for level in found]
    return [[Level(*level) for level in of_image] for of_image in zip(*rows, strict=True)]
