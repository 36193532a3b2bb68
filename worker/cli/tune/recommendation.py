"""From rounds in turns to a recommendation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from worker.cli.tune.configuration import Configuration

LEAST_GAIN = 1.03  # less is not worth a setting


@dataclass(frozen=True, slots=True)
class Comparison:
    """A configuration beside the settings as they are, measured in turns.

    Attributes:
        configuration: That was compared.
        ratios: In each turn, its images a second to those of the settings as they are.
    """

    configuration: Configuration
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of the turns."""
        return median(self.ratios)

    @property
    def is_faster(self) -> bool:
        """Whether it was faster in every turn, and in the median by enough to be worth a change.

        >>> Comparison(Configuration(), (1.5, 1.2, 1.4)).is_faster
        True
        >>> Comparison(Configuration(), (1.5, 0.9, 1.4)).is_faster  # less than the spread
        False
        """
        return min(self.ratios) > 1 and self.ratio >= LEAST_GAIN


def compare(
    default: Sequence[float], others: Mapping[Configuration, Sequence[float]]
) -> list[Comparison]:
    """Compare images a second, turn by turn.

    Args:
        default: Of the settings as they are, a figure a turn.
        others: Those of each other configuration.
    """
    return [
        Comparison(
            configuration,
            tuple(own / usual for own, usual in zip(rates, default, strict=True)),
        )
        for configuration, rates in others.items()
    ]


def recommended(
    comparisons: Sequence[Comparison], *, accepts_default: bool = True
) -> Comparison | None:
    """The fastest that is faster than the settings as they are; None if these are right.

    Args:
        comparisons: With the settings as they are.
        accepts_default: Whether these agree well enough with float32; if not, the fastest of the
            others is recommended in any case.
    """
    candidates = [each for each in comparisons if each.is_faster or not accepts_default]
    return max(candidates, key=lambda each: each.ratio, default=None)
