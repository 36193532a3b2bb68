"""A ViT's first convolution as one matrix product.

Its stride is its kernel, so each patch is read once: its pixels in a row times the flattened
kernels.
Axes: B images, R pixels a side, P pixels a patch, G = R/P patches a side, W width.
"""

from __future__ import annotations

from torch import Tensor, nn

from clip_engine.model.layers import Conv2d, Linear
from clip_engine.model.vision_transformer import VisionTransformer


def linear_patches(tower: nn.Module) -> None:
    """Replace the convolution of a ViT; a ResNet has none such and stays as it is."""
    if isinstance(tower, VisionTransformer) and isinstance(tower.conv1, Conv2d):
        tower.conv1 = LinearPatches(tower.conv1)


class LinearPatches(nn.Module):
    """What the convolution gives, `[B, 3, R, R]` to `[B, W, G, G]`.

    Args:
        conv: Without bias, its stride its kernel's size; its weights are shared.
    """

    def __init__(self, conv: Conv2d) -> None:
        super().__init__()
        self.patch = conv.kernel_size[0]
        weight = conv.weight.detach().flatten(1)  # [W, 3PP]
        self.linear = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.linear.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Cut into patches and project."""
        batch, size, side = len(pixels), self.patch, pixels.shape[-1] // self.patch
        pixels = pixels[:, :, : side * size, : side * size]  # a rest, as a convolution drops it
        patches = pixels.reshape(batch, 3, side, size, side, size)  # [B, 3, G, P, G, P]
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, side * side, -1)  # [B, GG, 3PP]
        x: Tensor = self.linear(patches)  # [B, GG, W]
        return x.transpose(1, 2).view(batch, -1, side, side)  # [B, W, G, G]
