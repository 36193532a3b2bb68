"""The search, and the comparison in turns that it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from worker.cli.tune.measurement import Measurement
from worker.cli.tune.recommendation import Comparison, compare, recommended
from worker.cli.tune.search import Bounds, precisions_on, search
from worker.cli.tune.subject import SubjectError
from worker.cli.tune.tuning import Tuning
from worker.settings import Settings

NEAR = 0.9  # of the present settings' rate: slower ones are not compared again


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of a run.

    Attributes:
        first: What was measured of the settings as they are.
        best: The configuration that is recommended; None to keep them.
        comparison: In turns, of the recommended one, or else of the fastest other one; None if
            nothing was compared.
        max_change: Largest change of a probability that a recommendation may cost.
        is_compared: Whether other settings were measured, and, if one may be better, in turns.
        is_first_accepted: Whether the settings as they are keep to it.
    """

    first: Measurement
    best: Measurement | None
    comparison: Comparison | None
    max_change: float
    is_compared: bool = True
    is_first_accepted: bool = True


def known_precisions() -> tuple[str, ...]:
    """What `CLIP_WORKER_PRECISION` may be, besides `auto`."""
    return get_args(Settings.model_fields["precision"].annotation)[1:]


def decide(tuning: Tuning, precisions: Sequence[str], max_change: float) -> Decision:
    """Measure, search and compare.

    Raises:
        SubjectError: The settings as they are can't be measured.
    """
    first = tuning.first()
    assert first.facts
    bounds = Bounds(precisions_on(first.facts.device, precisions), max_change)
    search(first, bounds, tuning.measure)
    comparisons = _compared(tuning, candidates(first, tuning.measured, bounds), first)
    is_accepted = bounds.accepts(first)
    chosen = recommended(comparisons, accepts_default=is_accepted)
    nearest = chosen or max(comparisons, key=lambda each: each.ratio, default=None)
    best = next((each for each in tuning.measured if chosen and _is(each, chosen)), None)
    is_compared = len(tuning.measured) > 1 and not tuning.trouble
    return Decision(first, best, nearest, max_change, is_compared, is_accepted)


def candidates(
    first: Measurement, measured: Sequence[Measurement], bounds: Bounds
) -> list[Measurement]:
    """The fastest other configuration, and the fastest in the precision of the first one."""
    is_accepted = bounds.accepts(first)
    others = [
        each
        for each in measured
        if each is not first
        and bounds.accepts(each)
        and (not is_accepted or each.images_per_s >= NEAR * first.images_per_s)
    ]
    others.sort(key=lambda each: each.images_per_s, reverse=True)
    same = [each for each in others if _precision(each) == _precision(first)]
    return list({each.configuration: each for each in [*others[:1], *same[:1]]}.values())


def _compared(
    tuning: Tuning, others: Sequence[Measurement], first: Measurement
) -> list[Comparison]:
    if not others:
        return []
    configurations = [each.configuration for each in others]
    try:
        rates = dict(tuning.in_turns([first.configuration, *configurations]))
    except SubjectError as error:
        tuning.trouble = f"They could not be compared in turns. {error}"
        return []
    return compare(rates.pop(first.configuration), rates)


def _precision(found: Measurement) -> str | None:
    return found.facts.precision if found.facts else None


def _is(found: Measurement, chosen: Comparison) -> bool:
    return found.configuration == chosen.configuration
