"""Pre-norm transformer of both towers (Radford et al. 2021, section 2.4; GPT-2's block).

Axes: B sequences, N tokens, D width, H heads. Attribute names are those of OpenAI's checkpoints,
so `attn.in_proj_weight` holds the query, key and value projections stacked on axis 0.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_engine.model.config import Activation
from clip_engine.model.layers import Linear, StackedProjection, draw_into

QUICK_GELU_SLOPE = 1.702


class QuickGELU(nn.Module):
    """`x * sigmoid(1.702 x)`, the GELU approximation that OpenAI trained with.

    Hendrycks and Gimpel 2016 (arXiv:1606.08415), section 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply it elementwise; same shape and dtype."""
        return x * torch.sigmoid(QUICK_GELU_SLOPE * x)


ACTIVATIONS: dict[Activation, type[nn.Module]] = {"quick_gelu": QuickGELU, "gelu": nn.GELU}


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """The shape of a tower's resblocks.

    Attributes:
        width: D.
        heads: H; D must be a multiple of it.
        mlp_width: Inner width of the MLP.
        activation: Of the MLP.
        causal: Whether token n attends only to tokens 0..n.
    """

    width: int
    heads: int
    mlp_width: int
    activation: Activation
    causal: bool


class Attention(StackedProjection):
    """Multi-head self-attention over one sequence axis.

    Args:
        width: D.
        heads: H; D must be a multiple of it.
        causal: Whether token n attends only to tokens 0..n.
    """

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__(width)
        self.heads = heads
        self.causal = causal
        self.out_proj = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend: `[B, N, D]` to `[B, N, D]`."""
        return self.out_proj(self.mix(self.project(x)))  # type: ignore[no-any-return]  # nn.Module.__call__ is Any

    def mix(self, stacked: Tensor) -> Tensor:
        """Attention itself: stacked projections `[B, N, 3D]` to `[B, N, D]`."""
        batch, tokens, width = *stacked.shape[:2], stacked.shape[2] // 3
        qkv = stacked.view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, N, D/H]
        x = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return x.transpose(1, 2).reshape(batch, tokens, width)  # [B, H, N, D/H] -> [B, N, D]


class ResidualAttentionBlock(nn.Module):
    """One resblock: attention, then a wider MLP, each on a normalised copy."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.attn = Attention(shape.width, shape.heads, causal=shape.causal)
        self.ln_1 = nn.LayerNorm(shape.width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=Linear(shape.width, shape.mlp_width),
                gelu=ACTIVATIONS[shape.activation](),
                c_proj=Linear(shape.mlp_width, shape.width),
            )
        )
        self.ln_2 = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `[B, N, D]` to `[B, N, D]`."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]  # Module.__call__ is Any


class Transformer(nn.Module):
    """A stack of resblocks; `resblocks.<i>` in the checkpoints."""

    def __init__(self, layers: int, shape: BlockShape) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(ResidualAttentionBlock(shape) for _ in range(layers)))
        self._reset_parameters(shape.width, layers)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `[B, N, D]` to `[B, N, D]`."""
        return self.resblocks(x)  # type: ignore[no-any-return]  # nn.Module.__call__ is Any

    def _reset_parameters(self, width: int, layers: int) -> None:
        """Initialise for training; residual branches are scaled by depth as in GPT-2."""
        attention_std, hidden_std = width**-0.5, (2 * width) ** -0.5
        residual_std = attention_std * (2 * layers) ** -0.5
        for name, weight in self.named_parameters():
            if name.endswith("in_proj_weight"):
                draw_into(weight, std=attention_std)
            elif name.endswith("c_fc.weight"):
                draw_into(weight, std=hidden_std)
            elif name.endswith(("out_proj.weight", "c_proj.weight")):
                draw_into(weight, std=residual_std)
            elif name.endswith("proj.bias"):
                nn.init.zeros_(weight)
