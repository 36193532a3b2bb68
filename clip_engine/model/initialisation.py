"""First weights of a model that is to be trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def draw(*shape: int, std: float) -> nn.Parameter:
    """A parameter from a normal distribution of mean 0."""
    parameter = nn.Parameter(torch.empty(*shape))
    draw_into(parameter, std=std)
    return parameter


def draw_into(weight: Tensor, *, std: float) -> None:
    """Overwrite a weight with draws from a normal distribution of mean 0.

    On the meta device, where a model stands until its weights are loaded, there is nothing to
    draw, and to ask for it would import PyTorch's compiler, which takes over a second.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)
