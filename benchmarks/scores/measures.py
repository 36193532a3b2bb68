"""Measures of predictions that say how sure they are.

Axes: N predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CURVE_POINTS = 100


def auc(scores: Tensor, right: Tensor) -> float:
    """The chance that a right one has the higher score than a wrong one, ties counted half.

    Args:
        scores: `[N]`.
        right: bool `[N]`, neither all nor none.

    >>> auc(torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([False, True, False, True]))
    0.875
    """
    _, place, count = scores.unique(return_inverse=True, return_counts=True)
    ranks = (count.cumsum(0) - (count - 1) / 2).double()[place]
    rights = int(right.sum())
    wins = float(ranks[right].sum()) - rights * (rights + 1) / 2
    return wins / (rights * (len(right) - rights))


@dataclass(frozen=True)
class Detection:
    """How well a probability finds something.

    Attributes:
        precision: Of what it finds at `at` or above, the share that is right.
        recall: The share that it finds of all that is right.
        auc: Without a threshold; see `auc`.
        at: The threshold.
        curve: (recall, precision) from the highest threshold to the lowest.
    """

    precision: float
    recall: float
    auc: float
    at: float
    curve: list[tuple[float, float]]

    @classmethod
    def of(cls, scores: Tensor, right: Tensor, at: float = 0.5) -> Detection:
        """Measure; arguments are those of `auc`."""
        found = scores >= at
        hits, rights = int((found & right).sum()), int(right.sum())
        return cls(
            precision=hits / max(1, int(found.sum())),
            recall=hits / rights,
            auc=auc(scores, right),
            at=at,
            curve=precision_and_recall(scores, right),
        )


def precision_and_recall(scores: Tensor, right: Tensor) -> list[tuple[float, float]]:
    """(recall, precision) at up to 100 thresholds, none between equal scores.

    >>> precision_and_recall(torch.tensor([0.9, 0.4, 0.4]), torch.tensor([True, True, False]))
    [(0.5, 1.0), (1.0, 0.6667)]
    """
    ordered, order = scores.sort(descending=True, stable=True)
    hits = right[order].cumsum(0)
    ends = torch.cat([ordered[:-1] != ordered[1:], torch.tensor([True])]).nonzero()[:, 0]
    ends = ends[torch.linspace(0, len(ends) - 1, min(CURVE_POINTS, len(ends))).round().long()]
    recall, precision = hits[ends] / hits[-1], hits[ends] / (ends + 1)
    points = zip(recall.tolist(), precision.tolist(), strict=True)
    return [(round(r, 4), round(p, 4)) for r, p in points]
