"""Features that a test makes up, and counts."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

DIM = 8


def feature_of(label: str) -> Tensor:
    """A feature, float32 `[8]` of length 1, that depends only on the label."""
    generator = torch.Generator().manual_seed(zlib.crc32(label.encode()))
    return functional.normalize(torch.randn(DIM, generator=generator), dim=0)


class CountedEncoder:
    """Computes features, and notes the labels of each call."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, labels: Sequence[str]) -> dict[str, Tensor]:
        self.calls.append(list(labels))
        return {label: feature_of(label) for label in labels}

    @property
    def encoded(self) -> list[str]:
        return [label for call in self.calls for label in call]
