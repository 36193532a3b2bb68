"""The tables of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.bench.sample import percentile
from benchmarks.served.turns import Samples

HEAD = (
    "server",
    "images/s",
    "least to most",
    "times LitServe",
    "CPU, ms an image",
    "lone image, ms",
    "fastest tenth to slowest tenth",
    "of LitServe's",
)


def table(found: Mapping[str, Samples], rivals: Sequence[str]) -> str:
    """A row a server.

    Args:
        found: By the server's name.
        rivals: Names of those that the others are compared with: in each column with the one that
            does best there.
    """
    fast = max((found[name] for name in rivals), key=lambda each: median(each.rates), default=None)
    quick = min(
        (found[name] for name in rivals), key=lambda each: median(each.latency_ms), default=None
    )
    rows = [_row(name, samples, fast, quick) for name, samples in found.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *rows))


def _row(name: str, mine: Samples, fast: Samples | None, quick: Samples | None) -> list[str]:
    tenth, last = (percentile(mine.latency_ms, part) for part in (0.1, 0.9))
    times = ratio(mine.rates, fast.rates) if fast else None
    of = ratio(mine.latency_ms, quick.latency_ms) if quick else None
    return [
        name,
        f"{median(mine.rates):.1f}",
        f"{min(mine.rates):.1f} to {max(mine.rates):.1f}",
        "" if times is None else f"**{times:.2f}**",
        f"{median(mine.cpu_ms):.0f}",
        f"{median(mine.latency_ms):.1f}",
        f"{tenth:.1f} to {last:.1f}",
        "" if of is None else f"**{of:.2f}**",
    ]


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of the ratios of samples that were taken one after the other.

    Load that comes and goes falls on both.
    """
    return median(a / b for a, b in zip(mine, theirs, strict=True))


def most_apart(first: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> float:
    """Largest difference of a probability that both give for a label of the same image."""
    return max(
        abs(a[label] - b[label])
        for a, b in zip(first, other, strict=False)
        for label in a.keys() & b.keys()
    )
