"""QuickGELU by way of SiLU, which torch computes in one pass instead of three.

`x sigmoid(1.702 x) = silu(1.702 x) / 1.702`, and both factors can be multiplied into the
linear layers before and behind.
"""

from __future__ import annotations

from torch import nn

from clip_engine.model.transformer import QUICK_GELU_SLOPE, QuickGELU, ResidualAttentionBlock


def fold_quick_gelu(model: nn.Module) -> None:
    """Scale the MLPs of all resblocks that use QuickGELU; others stay as they are."""
    for block in model.modules():
        if isinstance(block, ResidualAttentionBlock) and isinstance(block.mlp.gelu, QuickGELU):
            _fold(block.mlp)


def _fold(mlp: nn.Sequential) -> None:
    for weight in mlp.get_submodule("c_fc").parameters():
        weight.data.mul_(QUICK_GELU_SLOPE)
    behind = mlp.get_parameter("c_proj.weight")  # not the bias, which the activation doesn't reach
    behind.data.div_(QUICK_GELU_SLOPE)
    mlp.gelu = nn.SiLU()
