"""A ViT's patch embedding as a matrix product.

The convolution's stride equals its kernel size, so the patches don't overlap, and the result is the
flattened patches times the flattened kernels.
Axes: B images, R pixels a side, P pixels a patch, G = R/P patches a side, W width.
"""

from __future__ import annotations

from torch import Tensor, nn

from clip_engine.model.layers import Conv2d, Linear
from clip_engine.model.vision_transformer import VisionTransformer


def use_linear_patches(tower: nn.Module) -> None:
    """Replace the patch convolution of a ViT; a ResNet is left unchanged."""
    if isinstance(tower, VisionTransformer) and isinstance(tower.conv1, Conv2d):
        tower.conv1 = LinearPatches(tower.conv1)


class LinearPatches(nn.Module):
    """Equivalent of a patch convolution, `[B, 3, R, R]` to `[B, W, G, G]`.

    Args:
        conv: The convolution, without bias, its stride equal to its kernel size. Its weights are
            shared.
    """

    def __init__(self, conv: Conv2d) -> None:
        super().__init__()
        self.patch = conv.kernel_size[0]
        weight = conv.weight.detach().flatten(1)  # [W, 3PP]
        self.linear = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.linear.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Cut the image into patches and project them."""
        batch, size, side = len(pixels), self.patch, pixels.shape[-1] // self.patch
        pixels = pixels[:, :, : side * size, : side * size]  # a convolution drops the rest too
        patches = pixels.reshape(batch, 3, side, size, side, size)  # [B, 3, G, P, G, P]
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, side * side, -1)  # [B, GG, 3PP]
        x: Tensor = self.linear(patches)  # [B, GG, W]
        return x.transpose(1, 2).view(batch, -1, side, side)  # [B, W, G, G]
