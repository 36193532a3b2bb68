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
    """Find paths with a blank name. A label may also be a step on the way to others."""
    for index, path in enumerate(paths):
        names = parts_of(path)
        if len(names) > 1 and not all(map(normalised, names)):
            reason = f"has a blank name between its {SEPARATOR!r}"
            yield Finding(index, "path", reason, "name every step, as in 'animal > dog'")
