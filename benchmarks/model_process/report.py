"""Tables of the samples, in microseconds an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median, quantiles

from benchmarks.model_process.costless import Sample

Samples = Mapping[str, Sequence[Sample]]
Figure = Callable[[Sample], float]
SMALLEST_US = 0.5  # threads below it are not shown


def _a_picture(seconds: Figure) -> Figure:
    return lambda sample: 1e6 * seconds(sample) / sample.pictures


FIGURES: dict[str, Figure] = {
    "model's process, CPU, µs": _a_picture(lambda one: one.model_s),
    "model's process, under its GIL, µs": _a_picture(lambda one: sum((one.gil_s or {}).values())),
    "model's process, waiting for a core, µs": _a_picture(lambda one: one.waited_s),
    "preparation processes, CPU, µs": _a_picture(lambda one: one.children_s),
    "Redis, CPU, µs": _a_picture(lambda one: one.redis_s),
    "all together, CPU, µs": _a_picture(lambda one: one.model_s + one.children_s + one.redis_s),
    "pictures/s": lambda one: one.pictures / one.seconds,
}


def table(samples: Samples) -> str:
    """Every figure of a case."""
    values = {
        name: [[figure(sample) for sample in taken] for taken in samples.values()]
        for name, figure in FIGURES.items()
    }
    shown = {name: found for name, found in values.items() if any(map(any, found))}
    return compared("an image", list(samples), shown)


def compared(
    title: str, trees: Sequence[str], figures: Mapping[str, Sequence[Sequence[float]]]
) -> str:
    """Median, least and most of each figure by tree, and its ratio with the middle half of rounds.

    The ratio is the median of the ratios within a round, whose two measurements lie next to each
    other in time: load that comes and goes falls on both.
    """
    heads = [f"{name} | least to most" for name in trees]
    lines = [_row([title, *heads, "after/before"]), _row(["---"] * (2 * len(trees) + 2))]
    for name, values in figures.items():
        cells = [f"{_number(median(v))} | {_number(min(v))} to {_number(max(v))}" for v in values]
        lines.append(_row([name, *cells, _ratio(values[0], values[-1]) if len(trees) > 1 else ""]))
    return "\n".join(lines)


def thread_table(samples: Samples) -> str:
    """Processor time and time under the GIL by thread name, medians."""
    figures = [
        (_by_thread(taken, "threads_s"), _by_thread(taken, "gil_s")) for taken in samples.values()
    ]
    names = sorted(
        {name for cpu, _ in figures for name in cpu},
        key=lambda name: -max(cpu.get(name, 0.0) for cpu, _ in figures),
    )
    heads = [f"{name}: CPU, µs | GIL, µs" for name in samples]
    lines = [_row(["thread", *heads]), _row(["---"] * (2 * len(samples) + 1))]
    for name in names:
        cells = [(cpu.get(name, 0.0), gil.get(name, 0.0)) for cpu, gil in figures]
        if max(max(pair) for pair in cells) >= SMALLEST_US:
            lines.append(_row([name, *(f"{_number(cpu)} | {_number(gil)}" for cpu, gil in cells)]))
    return "\n".join(lines)


def _ratio(before: Sequence[float], after: Sequence[float]) -> str:
    ratios = [b / a for a, b in zip(before, after, strict=True) if a]
    if len(ratios) < 2:
        return ""
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f})"


def _by_thread(taken: Sequence[Sample], attribute: str) -> dict[str, float]:
    """Microseconds an image by thread name."""
    found = [getattr(sample, attribute) or {} for sample in taken]
    names = {name for one in found for name in one}
    return {
        name: median(
            1e6 * one.get(name, 0.0) / sample.pictures
            for one, sample in zip(found, taken, strict=True)
        )
        for name in names
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
