"""Samples of one quantity: the median, and how far the rounds lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of all (0 to 1) do not exceed, by nearest rank.

    Example: `percentile([1, 2, 3, 4], 0.5)` is 2, `percentile([1, 2, 3, 4], 0.99)` is 4.
    """
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * part // 1))
    return ordered[int(rank) - 1]


def rounded(values: Sequence[float], digits: int = 6) -> list[float]:
    """For JSON: no more digits than mean anything."""
    return [round(value, digits) for value in values]
