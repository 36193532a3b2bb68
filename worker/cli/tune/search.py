"""Which configurations are measured, one after the other: from each, towards what was faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from worker.cli.tune.configuration import Configuration
from worker.cli.tune.measurement import Facts, Measurement

FASTER = 1.02  # by so much must a step be faster for the next one to be tried
MOST_BATCH = 1024
MOST_REPLICAS_ON_GPU = 4
MOST_WORKERS_ON_GPU = 8
REFERENCE = "float32"
ON_CPU = (REFERENCE, "int8", "bfloat16")  # what gains most is tried first
ON_GPU = ("float16", "bfloat16", REFERENCE)

# Measures a configuration; None where the time does not suffice.
Measure = Callable[[Configuration], Measurement | None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is tried, and what may be recommended.

    Attributes:
        precisions: Tried besides the present one.
        max_change: Largest change of a probability, compared with float32.
    """

    precisions: tuple[str, ...]
    max_change: float

    def accepts(self, found: Measurement) -> bool:
        """Whether it works, and agrees with float32 well enough."""
        if found.failure or found.facts is None:
            return False
        if found.facts.precision == REFERENCE:
            return True
        return found.agreement is not None and found.agreement.largest_change <= self.max_change


def precisions_on(device: str, known: Sequence[str]) -> tuple[str, ...]:
    """The precisions that make sense on a device, among those that a worker knows."""
    return tuple(each for each in (ON_CPU if device == "cpu" else ON_GPU) if each in known)


def search(first: Measurement, bounds: Bounds, measure: Measure) -> Measurement:
    """Find a faster configuration than the first one.

    Args:
        first: That of the settings as they are.
        bounds: What may be recommended.
        measure: Gives the same measurement again for a configuration that it has measured.

    Returns:
        The fastest that is accepted, or `first` if none is faster.
    """
    assert first.facts
    best = _by_precision(first, first.facts, bounds, measure)
    best = _by_batch(best, bounds, measure)
    best = _by_processes(best, bounds, measure)
    best = _by_replicas(best, bounds, measure)
    return _by_workers(best, bounds, measure)


def _by_precision(best: Measurement, facts: Facts, bounds: Bounds, measure: Measure) -> Measurement:
    for precision in bounds.precisions:
        if precision == facts.precision:
            continue
        found = measure(replace(best.configuration, precision=precision))
        if found and _is_better(found, best, bounds):
            best = found
    return best


def _by_batch(best: Measurement, bounds: Bounds, measure: Measure) -> Measurement:
    assert best.facts
    return _climb(
        best,
        best.facts.max_batch,
        MOST_BATCH,
        lambda size: replace(best.configuration, max_batch=size),
        bounds,
        measure,
    )


def _by_processes(best: Measurement, bounds: Bounds, measure: Measure) -> Measurement:
    assert best.facts
    present, most = best.facts.preparation_processes, best.facts.cores
    return _climb(
        best,
        present,
        most,
        lambda number: replace(best.configuration, preparation_processes=number),
        bounds,
        measure,
    )


def _by_replicas(best: Measurement, bounds: Bounds, measure: Measure) -> Measurement:
    assert best.facts
    most = best.facts.cores if best.facts.device == "cpu" else MOST_REPLICAS_ON_GPU
    return _climb(
        best,
        best.facts.replicas,
        most,
        lambda number: replace(best.configuration, replicas=number),
        bounds,
        measure,
    )


def _by_workers(best: Measurement, bounds: Bounds, measure: Measure) -> Measurement:
    facts = best.facts
    assert facts

    def with_workers(number: int) -> Configuration:
        """Workers share the cores; what was set for one is shared like what wasn't."""
        own = best.configuration
        return replace(
            own,
            workers=number,
            replicas=_share(own.replicas, number) if facts.device == "cpu" else own.replicas,
            preparation_processes=_share(own.preparation_processes, number),
        )

    most = facts.cores if facts.device == "cpu" else min(facts.cores // 2, MOST_WORKERS_ON_GPU)
    return _climb(best, facts.workers, most, with_workers, bounds, measure)


def _share(number: int | None, workers: int) -> int | None:
    return number and max(1, number // workers)


def _climb(  # noqa: PLR0913, PLR0917  # one for each thing that differs between the steps
    best: Measurement,
    present: int,
    most: int,
    changed: Callable[[int], Configuration],
    bounds: Bounds,
    measure: Measure,
) -> Measurement:
    """Double a number, or else halve it, as long as that is faster."""
    start = best
    for step in (_double, _halve):
        number = step(present)
        while 1 <= number <= most:
            found = measure(changed(number))
            if found is None or not _is_better(found, best, bounds):
                break
            best, number = found, step(number)
        if best is not start:
            break
    return best


def _double(number: int) -> int:
    return 2 * number


def _halve(number: int) -> int:
    return number // 2


def _is_better(found: Measurement, best: Measurement, bounds: Bounds) -> bool:
    if not bounds.accepts(found):
        return False
    return not bounds.accepts(best) or found.images_per_s > FASTER * best.images_per_s
