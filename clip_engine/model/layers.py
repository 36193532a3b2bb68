"""Layers that compute in the dtype of their weights, and weight initialisation.

Nearly all of a tower's work is matrix products, which half-precision weights make faster. The
sensitive parts stay in float32: the residual stream and LayerNorm. So each layer here casts its
input to its weights' dtype, and adding the output to the residual stream casts it back.
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
    """Query, key and value projections as one product: `in_proj_weight` and `in_proj_bias`.

    Args:
        width: D.

    Attributes:
        packed: Replaces the two parameters after packing; see `acceleration.prepacked`.
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


def draw(*shape: int, std: float) -> nn.Parameter:
    """A parameter with values from a normal distribution of mean 0."""
    parameter = nn.Parameter(torch.empty(*shape))
    draw_into(parameter, std=std)
    return parameter


def draw_into(weight: Tensor, *, std: float) -> None:
    """Overwrite a weight with values from a normal distribution of mean 0.

    Does nothing on the meta device, where a model is built before its weights are loaded: there is
    nothing to overwrite, and calling `nn.init.normal_` would import torch's compiler, which takes
    more than a second.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def store_weights(tower: nn.Module, dtype: torch.dtype) -> None:
    """Convert the weights of a tower's matrix products in place, and nothing else."""
    for module in tower.modules():
        if isinstance(module, Linear | Conv2d):
            module.to(dtype)
        elif isinstance(module, StackedProjection):
            module.in_proj_weight.data = module.in_proj_weight.data.to(dtype)
            module.in_proj_bias.data = module.in_proj_bias.data.to(dtype)
