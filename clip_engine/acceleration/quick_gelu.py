"""QuickGELU computed as SiLU, for which torch has a single kernel.

`x sigmoid(1.702 x) = silu(1.702 x) / 1.702`, and both factors can be folded into the linear layers
before and after it.
"""

from __future__ import annotations

from torch import nn

from clip_engine.model.transformer import QUICK_GELU_SLOPE, QuickGELU, ResidualAttentionBlock


def fold_quick_gelu(model: nn.Module) -> None:
    """Fold the factors into the MLPs of all resblocks that use QuickGELU."""
    for block in model.modules():
        if isinstance(block, ResidualAttentionBlock) and isinstance(block.mlp.gelu, QuickGELU):
            _fold(block.mlp)


def _fold(mlp: nn.Sequential) -> None:
    for weight in mlp.get_submodule("c_fc").parameters():
        weight.data.mul_(QUICK_GELU_SLOPE)
    after = mlp.get_parameter("c_proj.weight")  # not the bias, which is added afterwards
    after.data.div_(QUICK_GELU_SLOPE)
    mlp.gelu = nn.SiLU()
