"""Linear layers whose weights are stored in oneDNN's own memory order.

With plain weights a matrix product on a CPU reorders them in every call, or runs without the order
that is fastest. The operators used here are those that torch's compiler emits. They aren't public,
so they are tested before use, once for each precision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_engine.model.layers import Linear, StackedProjection

TOLERANCE = 0.02  # relative to the test's largest output; bfloat16 has 8 bits


def prepack(model: nn.Module) -> None:
    """Replace each linear layer by a packed one if this torch supports it; frees plain weights."""
    works: dict[torch.dtype, bool] = {}
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, Linear) and _works(layer.weight.dtype, works):
                setattr(module, name, PackedLinear(layer.weight, layer.bias))
        if not isinstance(module, StackedProjection) or module.packed is not None:
            continue
        if _works(module.in_proj_weight.dtype, works):
            module.packed = PackedLinear(module.in_proj_weight, module.in_proj_bias)
            del module.in_proj_weight, module.in_proj_bias


class PackedLinear(nn.Module):
    """`Linear` with packed weights, which are not part of the state dict.

    Args:
        weight: `[out, in]`.
        bias: `[out]` or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.dtype = weight.dtype
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach())  # noqa: SLF001  # see above
        self._bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., in]` of any float dtype to `[..., out]` of the weights' dtype."""
        product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001  # see above
        return product(x.to(self.dtype), self._weight, self._bias, "none", [], "")  # type: ignore[no-any-return]  # an operator is Any


def packing_works(dtype: torch.dtype) -> bool:
    """Whether torch packs weights of this type on this CPU and computes correctly with them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 64, generator=generator).to(dtype)
    weight = (torch.randn(32, 64, generator=generator) / 8).to(dtype)
    bias = torch.randn(32, generator=generator).to(dtype)
    try:
        packed = PackedLinear(weight, bias)(x)
    except (AttributeError, RuntimeError):  # no such operator, or not for this type on this CPU
        return False
    exact = functional.linear(x.double(), weight.double(), bias.double())
    return packed.dtype == dtype and bool(
        (packed - exact).abs().max() < TOLERANCE * exact.abs().max()
    )


def _works(dtype: torch.dtype, known: dict[torch.dtype, bool]) -> bool:
    if dtype not in known:
        known[dtype] = packing_works(dtype)
    return known[dtype]
