"""How far stated probabilities are from how often they come true.

Axes: N predictions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 15


class Reliability(NamedTuple):
    """Predictions in bins of equal width by their probability; bins without any are left out.

    Attributes:
        probability: Mean of each bin, float64.
        right: Share of the predictions that are right.
        predictions: How many there are.
    """

    probability: Tensor
    right: Tensor
    predictions: Tensor


def reliability(probability: Tensor, right: Tensor, bins: int = BINS) -> Reliability:
    """Sort predictions into bins.

    Args:
        probability: `[N]`, in [0, 1].
        right: Whether each came true, bool `[N]`.
        bins: Number of bins; 1 / bins belongs to the first, 1 to the last (Guo et al. 2017).
    """
    edges = (torch.ceil(probability.double() * bins) - 1).clamp(0, bins - 1).long()
    count = torch.bincount(edges, minlength=bins)
    sums = torch.bincount(edges, probability.double(), minlength=bins)
    rights = torch.bincount(edges, right.double(), minlength=bins)
    some = count > 0
    return Reliability(sums[some] / count[some], rights[some] / count[some], count[some])


def expected_calibration_error(probability: Tensor, right: Tensor, bins: int = BINS) -> float:
    """The mean distance between a bin's probability and its share of right ones, by its size.

    Guo et al. 2017, arXiv:1706.04599, equation 3. Arguments are those of `reliability`.

    >>> expected_calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([True, False]))
    0.25
    """
    found = reliability(probability, right, bins)
    gaps = (found.probability - found.right).abs()
    return round(float((gaps * found.predictions).sum() / found.predictions.sum()), 12)
