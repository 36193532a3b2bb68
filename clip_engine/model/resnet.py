"""Vision tower as CLIP's modified ResNet (Radford et al. 2021, section 2.4).

Against He et al. 2015: a stem of three convolutions (ResNet-D), average pooling before every
strided convolution (Zhang 2019, anti-aliasing), attention pooling instead of an average.
Axes: B images, R pixels a side, C channels, S = R/32 positions a side, D embedding.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_engine.model.layers import Conv2d, Linear, draw, draw_into

EXPANSION = 4  # a bottleneck's output channels over its inner ones
STRIDE = 32  # pixels a position of the last feature map


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; average pools replace strides."""

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        outplanes = planes * EXPANSION
        self.conv1 = Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = Conv2d(planes, outplanes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outplanes)
        nn.init.zeros_(self.bn3.weight)  # so that every block starts as its shortcut
        self.downsample = (
            nn.Sequential(
                OrderedDict(
                    [
                        ("-1", nn.AvgPool2d(stride)),
                        ("0", Conv2d(inplanes, outplanes, 1, bias=False)),
                        ("1", nn.BatchNorm2d(outplanes)),
                    ]
                )
            )
            if stride > 1 or inplanes != outplanes
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform `[B, inplanes, h, w]` to `[B, 4 planes, h/stride, w/stride]`."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.avgpool(functional.relu(self.bn2(self.conv2(out))))
        return functional.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class AttentionPool2d(nn.Module):
    """Attention pooling: the mean over all positions is the only query."""

    def __init__(self, positions: int, channels: int, heads: int, output_dim: int) -> None:
        super().__init__()
        std = channels**-0.5
        self.heads = heads
        self.positional_embedding = draw(positions + 1, channels, std=std)
        self.k_proj = Linear(channels, channels)
        self.q_proj = Linear(channels, channels)
        self.v_proj = Linear(channels, channels)
        self.c_proj = Linear(channels, output_dim)
        for linear in (self.k_proj, self.q_proj, self.v_proj, self.c_proj):
            draw_into(linear.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """Pool `[B, C, S, S]` to `[B, D]`."""
        x = x.flatten(2).transpose(1, 2)  # [B, S², C]
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding
        query = self._split(self.q_proj(x[:, :1]))  # [B, H, 1, C/H]
        key, value = self._split(self.k_proj(x)), self._split(self.v_proj(x))
        x = functional.scaled_dot_product_attention(query, key, value)
        return self.c_proj(x.flatten(1))  # type: ignore[no-any-return]  # [B, H, 1, C/H] -> [B, D]

    def _split(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        x = x.view(batch, tokens, self.heads, channels // self.heads)
        return x.transpose(1, 2)  # [B, N, H, C/H] -> [B, H, N, C/H]


class ModifiedResNet(nn.Module):
    """Image tower of the RN models.

    Args:
        layers: Bottlenecks of each of the four stages.
        width: Output channels of the stem.
        heads: Attention heads of the final pool.
        input_resolution: R, a multiple of 32.
        output_dim: D.
    """

    def __init__(
        self,
        *,
        layers: tuple[int, int, int, int],
        width: int,
        heads: int,
        input_resolution: int,
        output_dim: int,
    ) -> None:
        super().__init__()
        self.conv1 = Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        self.layer1 = _stage(width, width, layers[0], stride=1)
        self.layer2 = _stage(width * 4, width * 2, layers[1], stride=2)
        self.layer3 = _stage(width * 8, width * 4, layers[2], stride=2)
        self.layer4 = _stage(width * 16, width * 8, layers[3], stride=2)
        positions = (input_resolution // STRIDE) ** 2
        self.attnpool = AttentionPool2d(positions, width * 32, heads, output_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels `[B, 3, R, R]` to features `[B, D]`, not normalised."""
        x = functional.relu(self.bn1(self.conv1(pixels)))  # [B, width/2, R/2, R/2]
        x = functional.relu(self.bn2(self.conv2(x)))
        x = self.avgpool(functional.relu(self.bn3(self.conv3(x))))  # [B, width, R/4, R/4]
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # [B, 32 width, S, S]
        return self.attnpool(x)  # type: ignore[no-any-return]  # [B, D]


def _stage(inplanes: int, planes: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = Bottleneck(inplanes, planes, stride)
    rest = (Bottleneck(planes * EXPANSION, planes, 1) for _ in range(1, blocks))
    return nn.Sequential(first, *rest)
