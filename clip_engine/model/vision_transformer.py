"""Vision tower as a ViT (Dosovitskiy et al. 2020, arXiv:2010.11929, with CLIP's extra ln_pre).

Axes: B images, R pixels a side, P pixels a patch, N = (R/P)² + 1 tokens, W width, D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clip_engine.model.layers import Conv2d, draw
from clip_engine.model.transformer import BlockShape, Transformer


class VisionTransformer(nn.Module):
    """Image tower of the ViT models.

    Args:
        input_resolution: R, a multiple of `patch_size`.
        patch_size: P.
        layers: Number of resblocks.
        block: Their shape; its width is W.
        output_dim: D.
    """

    def __init__(
        self,
        *,
        input_resolution: int,
        patch_size: int,
        layers: int,
        block: BlockShape,
        output_dim: int,
    ) -> None:
        super().__init__()
        width = block.width
        tokens = (input_resolution // patch_size) ** 2 + 1
        scale = width**-0.5
        self.conv1: nn.Module = Conv2d(
            3, width, kernel_size=patch_size, stride=patch_size, bias=False
        )
        self.class_embedding = draw(width, std=scale)
        self.positional_embedding = draw(tokens, width, std=scale)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(layers, block)
        self.ln_post = nn.LayerNorm(width)
        self.proj = draw(width, output_dim, std=scale)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels `[B, 3, R, R]` to features `[B, D]`, not normalised."""
        x = self.conv1(pixels)  # [B, W, R/P, R/P]
        x = x.flatten(2).transpose(1, 2)  # [B, W, N-1] -> [B, N-1, W]
        class_token = self.class_embedding.expand(x.shape[0], 1, -1)  # [B, 1, W]
        x = torch.cat([class_token, x], dim=1) + self.positional_embedding  # [B, N, W]
        x = self.transformer(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj  # type: ignore[no-any-return]  # [B, D]
