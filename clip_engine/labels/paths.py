"""Checks the paths of hierarchical labels, such as `animal > dog > beagle`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clip_engine.labels.finding import Finding
from clip_engine.labels.wording import normalised
from clip_engine.scoring.hierarchy import SEPARATOR


def parts_of(path: str) -> tuple[str, ...]:
    """The names in a path, from the root on.

    >>> parts_of("animal > dog>beagle")
    ('animal', 'dog', 'beagle')
    """
    return tuple(part.strip() for part in path.split(SEPARATOR))


def check_paths(paths: Sequence[str]) -> Iterator[Finding]:
    """Find paths with a blank name, and labels that are also a step on the way to others."""
    steps: dict[tuple[str, ...], int] = {}
    keys = [tuple(map(normalised, parts_of(path))) for path in paths]
    for index, key in enumerate(keys):
        for length in range(1, len(key)):
            steps.setdefault(key[:length], index)
    for index, key in enumerate(keys):
        if len(key) > 1 and not all(key):
            reason = f"has a blank name between its {SEPARATOR!r}"
            yield Finding(index, "path", reason, "name every step, as in 'animal > dog'")
        elif key in steps:
            reason = "is a label, but also a step on the path to"
            yield Finding(index, "path", reason, "remove one of the two", steps[key])
