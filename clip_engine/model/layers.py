"""Layers whose weights may be stored in a lower precision than what flows into them has.

The matrix products of a tower are nearly all of its work, and half-size weights make them faster.
What is sensitive stays float32: the residual stream, which only ever adds to itself, and LayerNorm.
So each product casts its input to its weights' type, and adding the output to the stream casts it
back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """`nn.Linear` that computes in its weights' dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., in]` of any float dtype to `[..., out]` of the weights' dtype."""
        return functional.linear(x.to(self.weight.dtype), self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` that computes in its weights' dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, C, h, w]` of any float dtype to the weights' dtype."""
        return super().forward(x.to(self.weight.dtype))


class StackedProjection(nn.Module):
    """Holds `in_proj_weight` and `in_proj_bias`: query, key and value projections in one product.

    Args:
        width: D.

    Attributes:
        packed: What computes the product in place of the two, once they have been packed.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.packed: nn.Module | None = None
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))

    def project(self, x: Tensor) -> Tensor:
        """Map `[B, N, D]` to `[B, N, 3D]` of the weights' dtype."""
        if self.packed is not None:
            return self.packed(x)  # type: ignore[no-any-return]  # nn.Module.__call__ is Any
        weight = self.in_proj_weight
        return functional.linear(x.to(weight.dtype), weight, self.in_proj_bias)


def store_weights(tower: nn.Module, dtype: torch.dtype) -> None:
    """Convert the weights of a tower's matrix products in place; everything else stays as it is."""
    for module in tower.modules():
        if isinstance(module, Linear | Conv2d):
            module.to(dtype)
        elif isinstance(module, StackedProjection):
            module.in_proj_weight.data = module.in_proj_weight.data.to(dtype)
            module.in_proj_bias.data = module.in_proj_bias.data.to(dtype)
