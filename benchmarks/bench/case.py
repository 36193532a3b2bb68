"""What is asked of every contender end to end: a model, a size of images, labels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.bench.labels import label_list
from benchmarks.bench.pictures import LARGE, SMALL, TWELVE_MEGAPIXELS, Size
from benchmarks.bench.weights import VIT_B_32, VIT_L_14, Architecture


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: For `Scale.cases` and the JSON.
        architecture: Of the model.
        size: Of the images.
        labels: L.
        own: Whether each task has a list of its own, with labels that nobody has seen before.
    """

    name: str
    architecture: Architecture
    size: Size
    labels: int
    own: bool = False

    @property
    def title(self) -> str:
        """For tables and plots."""
        kind = "own" if self.own else "the same"
        return f"{self.architecture.name}, {self.size.name}, {self.labels:,} {kind}"

    @property
    def slow(self) -> bool:
        """Whether those who cache nothing need a minute for an image."""
        return self.labels >= 1_000

    @property
    def heavy(self) -> bool:
        """Whether an image takes seconds: fewer a round do."""
        return self.architecture is VIT_L_14

    def lists(self, fresh: dict[int, Iterator[list[str]]]) -> Iterator[list[str]]:
        """A list of labels for each task; `fresh` has unused ones by L."""
        return fresh[self.labels] if self.own else itertools.repeat(label_list(self.labels))


MAIN = "b32-small"
SIZES = {"small": SMALL, "large": LARGE, "12mp": TWELVE_MEGAPIXELS}
ARCHITECTURES = {"b32": VIT_B_32, "l14": VIT_L_14}
LABELS = {
    "": (10, False),
    "-own-labels": (10, True),
    "-1000-labels": (1_000, False),
    "-1000-own-labels": (1_000, True),
}
CASES = tuple(
    Case(f"{model}-{size}{suffix}", ARCHITECTURES[model], SIZES[size], count, own)
    for model in ARCHITECTURES
    for size in SIZES
    for suffix, (count, own) in LABELS.items()
)


def chosen(names: tuple[str, ...]) -> tuple[Case, ...]:
    """The cases with these names, in this order, or all."""
    by_name = {case.name: case for case in CASES}
    return tuple(by_name[name] for name in names) or CASES
