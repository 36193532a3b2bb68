"""Labels that are paths in a tree, such as `animal > dog > beagle`.

Axes: B images, L leaves, N nodes of a level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from clip_engine.errors import InputError
from clip_engine.quoting import quoted

SEPARATOR = ">"


@dataclass(frozen=True, eq=False, slots=True)
class LabelTree:
    """A tree whose leaves are labels; a label may also be a node above others.

    Attributes:
        leaves: The last part of each of the L paths, for prompts.
        levels: Names of the nodes of each depth, such as `animal > dog`, in the order in which the
            paths name them first.
        nodes: For each level the leaves below its nodes: indices of leaves, and the node of each.
    """

    leaves: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    nodes: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, paths: tuple[str, ...]) -> Self:
        """Read paths, with or without blanks around each `>`.

        >>> tree = LabelTree.of(("animal > dog", "animal>cat", "car"))
        >>> tree.leaves, tree.levels
        (('dog', 'cat', 'car'), (('animal', 'car'), ('animal > dog', 'animal > cat')))

        Raises:
            InputError: There are no paths, one is repeated, or one has a blank part.
        """
        parts = [_parts(path) for path in paths]
        if not parts:
            raise InputError("There are no labels; give at least one.")
        _check_distinct(parts)
        levels, nodes = [], []
        for depth in range(1, max(map(len, parts)) + 1):
            below = [leaf for leaf, path in enumerate(parts) if len(path) >= depth]
            names = dict.fromkeys(_name(parts[leaf][:depth]) for leaf in below)
            numbers = {name: number for number, name in enumerate(names)}
            nodes_of = [numbers[_name(parts[leaf][:depth])] for leaf in below]
            levels.append(tuple(names))
            nodes.append((torch.tensor(below), torch.tensor(nodes_of)))
        return cls(tuple(path[-1] for path in parts), tuple(levels), tuple(nodes))

    def sums(self, probabilities: Tensor) -> list[Tensor]:
        """For each level the sum of the leaves below each node.

        Args:
            probabilities: Of the leaves, `[B, L]`.

        Returns:
            `[B, N]` for each level. No image changes another's.
        """
        columns = probabilities.T  # [L, B], of which index_add_ adds whole rows
        return [
            columns.new_zeros(len(names), columns.shape[1]).index_add_(0, nodes, columns[leaves]).T
            for names, (leaves, nodes) in zip(self.levels, self.nodes, strict=True)
        ]

    def largest(self, probabilities: Tensor) -> list[Tensor]:
        """As `sums`, the largest of the leaves below each node: for independent probabilities."""
        images = len(probabilities)
        return [
            probabilities.new_zeros(images, len(names)).scatter_reduce_(
                1, nodes.expand(images, -1), probabilities[:, leaves], "amax"
            )
            for names, (leaves, nodes) in zip(self.levels, self.nodes, strict=True)
        ]


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in path.split(SEPARATOR))
    if not all(parts):
        raise InputError(
            f"The label {quoted(path)} has a blank part; give a path such as 'animal > dog'."
        )
    return parts


def _check_distinct(paths: list[tuple[str, ...]]) -> None:
    seen: set[tuple[str, ...]] = set()
    for path in paths:
        if path in seen:
            raise InputError(f"The label {quoted(_name(path))} is repeated; give each label once.")
        seen.add(path)


def _name(parts: tuple[str, ...]) -> str:
    return f" {SEPARATOR} ".join(parts)
