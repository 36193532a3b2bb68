"""Image towers in int8 on a CPU: integer products with float32 in between.

Weights have one scale an output channel and are quantised once; activations have one scale a token
(in a convolution one an image) and are quantised in every call, so no calibration images are
needed, and an image's feature doesn't depend on the other images of its batch. The scheme is that
of LLM.int8 (Dettmers et al. 2022, arXiv:2208.07339, section 2.1, "vector-wise") without outliers
apart. LayerNorm, softmax, the residual stream, the layer that takes the pixels, the last projection
and a ResNet's attention pool stay in float32; so do convolutions of other families.

The operators are oneDNN's, those that torch's compiler emits for quantised models. They aren't
public, so they are tested before use. A processor without VNNI adds pairs of products in 16 bits,
which overflow unless weights keep to 7 bits.
Axes: B images, C channels.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from clip_engine.acceleration.linear_patches import LinearPatches
from clip_engine.errors import DeviceError
from clip_engine.model.layers import Conv2d, Linear, StackedProjection
from clip_engine.model.resnet import ModifiedResNet

ZERO = 128  # the byte that stands for 0
LEVELS = 127  # largest magnitude of a signed byte
# Without VNNI two products of a byte and a weight must fit into 16 bits. Linear layers, whose
# activations have outliers, keep all bits of these: 2 * 255 * 64 < 2 ** 15. Convolutions lose less
# on trained weights with both in 7 bits: 2 * 127 * 127 < 2 ** 15.
NARROW_LEVELS = 64
TINY = torch.finfo(torch.float32).tiny


def use_int8(tower: nn.Module) -> None:
    """Replace the linear layers of an image tower, or the convolutions of CLIP's own ResNet.

    Args:
        tower: On the CPU, in float32.

    Raises:
        DeviceError: The tower isn't on the CPU, or torch has no int8 products for this processor.
    """
    device = next(tower.parameters()).device
    if device.type != "cpu":
        raise DeviceError(f"int8 is for CPUs; on {device} use float16 or bfloat16.")
    levels = weight_levels()
    if levels is None:
        raise DeviceError("This torch has no int8 products for this processor; use float32.")
    if isinstance(tower, ModifiedResNet):
        _replace_convolutions(tower, 2 * LEVELS if levels == LEVELS else LEVELS)
    else:
        _replace_linears(tower, levels)


class Int8Linear(nn.Module):
    """A linear layer in int8; its weights are not part of the state dict.

    Args:
        weight: float `[out, in]`.
        bias: float `[out]` or None.
        levels: Largest magnitude of a quantised weight.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, levels: int = LEVELS) -> None:
        super().__init__()
        quantised, self._scale = _per_channel(weight, levels)
        self._weight = torch.ops.onednn.qlinear_prepack(quantised, None)
        self._zero = torch.zeros(1, dtype=torch.int32)
        self._bias = None if bias is None else bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., in]` of any float dtype to float32 `[..., out]`."""
        rows = x.reshape(-1, x.shape[-1])
        largest = torch.maximum(rows.amax(dim=1, keepdim=True), -rows.amin(dim=1, keepdim=True))
        scale = largest.clamp_(min=TINY).div_(LEVELS)  # [rows, 1]
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(_bytes((rows / scale).round_()), 1.0, ZERO),
            *(self._weight, self._scale, self._zero, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        product = product.mul_(scale) if self._bias is None else self._bias.addcmul(product, scale)
        return product.view(*x.shape[:-1], -1)


class Int8Conv2d(nn.Module):
    """A convolution of channels that are never negative, in int8.

    Args:
        convolution: Float, with or without bias.
        levels: Largest byte of a quantised activation.
    """

    def __init__(self, convolution: nn.Conv2d, levels: int = 2 * LEVELS) -> None:
        super().__init__()
        self._geometry = (
            list(convolution.stride),
            [int(side) for side in convolution.padding],
            list(convolution.dilation),
            convolution.groups,
        )
        self._levels = levels
        quantised, self._scale = _per_channel(convolution.weight, LEVELS)
        self._weight = torch.ops.onednn.qconv_prepack(
            quantised, self._scale, 1.0, 0, *self._geometry
        )
        self._zero = torch.zeros(len(quantised), dtype=torch.int32)
        bias = convolution.bias
        self._bias = None if bias is None else bias.detach().float().view(-1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map float `[B, C, h, w]`, of 0 or more, to float32."""
        x = x.contiguous(memory_format=torch.channels_last)
        scale = x.amax(dim=(1, 2, 3), keepdim=True).clamp_(min=TINY).div_(self._levels)
        product: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *(_bytes((x / scale).round_().sub_(ZERO)), 1.0, 0),
            *(self._weight, self._scale, self._zero, None),
            *self._geometry,
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        return product.mul_(scale) if self._bias is None else self._bias.addcmul(product, scale)


@cache
def weight_levels() -> int | None:
    """The largest weights with which linear layers are exact here; None if there is no int8."""
    for levels in (LEVELS, NARROW_LEVELS):
        try:
            if _is_exact(levels):
                return levels
        except (AttributeError, RuntimeError):  # no such operator, or not on this processor
            return None
    return None


def _bytes(shifted: Tensor) -> Tensor:
    """Whole numbers from -128 to 127 as bytes, 128 added; several times as fast as `to(uint8)`."""
    return shifted.to(torch.int8).view(torch.uint8).bitwise_xor_(ZERO)


def _is_exact(levels: int) -> bool:
    largest = torch.full((64, 256), LEVELS, dtype=torch.float32)
    layer = Int8Linear(torch.ones(256, 256), None, levels)
    exact = torch.full((64, 256), LEVELS * 256.0)
    return torch.allclose(layer(largest), exact, rtol=1e-5)


def _per_channel(weight: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """int8 weights, and the float32 `[out]` scales that they were divided by."""
    weight = weight.detach().float()
    scale = weight.flatten(1).abs().amax(dim=1).clamp_(min=TINY) / levels
    return (weight / scale.view(-1, *[1] * (weight.ndim - 1))).round().to(torch.int8), scale


def _replace_linears(tower: nn.Module, levels: int) -> None:
    for module in list(tower.modules()):
        if isinstance(module, LinearPatches):
            continue
        for name, layer in list(module.named_children()):
            # Of other subclasses, such as that of attention, others use the weights.
            if isinstance(layer, nn.Linear) and type(layer) in (nn.Linear, Linear):
                setattr(module, name, Int8Linear(layer.weight, layer.bias, levels))
        if isinstance(module, StackedProjection):
            weight, bias = module.in_proj_weight, module.in_proj_bias
            module.packed = Int8Linear(weight, bias, levels)
            del module.in_proj_weight, module.in_proj_bias


def _replace_convolutions(tower: ModifiedResNet, levels: int) -> None:
    """All but the first, which takes pixels: the inputs of the others have passed a ReLU."""
    for module in list(tower.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, Conv2d) and layer is not tower.conv1:
                setattr(module, name, Int8Conv2d(layer, levels))
