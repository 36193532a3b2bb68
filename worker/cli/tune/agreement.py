"""How far a configuration's probabilities are from those of float32.

Axes: N images, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOP = 5
PERCENTILE = 99


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one configuration with float32, over N images.

    A change of an image is the largest difference of any of its labels' probabilities.

    Attributes:
        images: N.
        top_1: Share of the images whose best label is the same.
        top_5: Share of those whose five best labels are the same, in any order.
        top_5_in_order: Share of those whose five best labels are the same, in the same order.
        change_p99: The change that 99 % of the images don't exceed.
        largest_change: Of all images.
    """

    images: int
    top_1: float
    top_5: float
    top_5_in_order: float
    change_p99: float
    largest_change: float


def agreement(reference: NDArray[np.float32], found: NDArray[np.float32]) -> Agreement:
    """Compare probabilities `[N, L]` with those of float32.

    >>> agreement(np.float32([[0.6, 0.3, 0.1]]), np.float32([[0.5, 0.2, 0.3]])).top_1
    1.0
    """
    before, after = _best(reference), _best(found)  # [N, K]
    same = before == after
    change = np.abs(found - reference).max(axis=1)  # [N]
    as_sets = np.sort(before, axis=1) == np.sort(after, axis=1)
    return Agreement(
        images=len(reference),
        top_1=float(same[:, 0].mean()),
        top_5=float(as_sets.all(axis=1).mean()),
        top_5_in_order=float(same.all(axis=1).mean()),
        change_p99=float(np.percentile(change, PERCENTILE, method="higher")),
        largest_change=float(change.max()),
    )


def _best(probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """The indices of the best labels, best first, ties by index, as in a worker's results."""
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
