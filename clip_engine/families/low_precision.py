"""Runs an image tower of torch's own layers in float16 or bfloat16.

Only matrix products and convolutions do: their weights are converted, and autocast converts what
they multiply. LayerNorm, softmax and the residual stream stay in float32, as in our own CLIP.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clip_engine.errors import Float16RangeError

# Weights of attention that are no layer of their own.
PARAMETERS = ("in_proj_weight", "in_proj_bias")


class LowPrecision(nn.Module):
    """An image tower in low precision.

    Args:
        tower: On its device; its weights are converted.
        dtype: float16 or bfloat16.
    """

    def __init__(self, tower: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.tower = tower
        self.dtype = dtype
        _convert(tower, dtype)
        _keep_residuals(tower)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of pixels."""
        # Without its cache: it would hold tensors from the recording of a CUDA graph.
        with torch.autocast(pixels.device.type, self.dtype, cache_enabled=False):
            features: Tensor = self.tower(pixels)
            return features


@torch.inference_mode()
def check_range(tower: nn.Module, resolution: int, device: torch.device) -> None:
    """Encode noise once.

    Args:
        tower: In float16, on its device.
        resolution: R, pixels a side of its input.
        device: The tower's.

    Raises:
        Float16RangeError: Features aren't finite.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 3, resolution, resolution, generator=generator).to(device)
    if not tower(noise).isfinite().all():
        raise Float16RangeError(
            "The image tower's activations are too large for float16; run it in bfloat16 or "
            "float32."
        )


def _convert(tower: nn.Module, dtype: torch.dtype) -> None:
    for module in tower.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            module.to(dtype)
        for name in PARAMETERS:
            weight = getattr(module, name, None)
            if isinstance(weight, nn.Parameter):
                weight.data = weight.data.to(dtype)


def _keep_residuals(tower: nn.Module) -> None:
    """open_clip's own ViT converts positions to the type of its patches: make that float32."""
    patches = getattr(tower, "conv1", None)
    if isinstance(patches, nn.Conv2d) and hasattr(tower, "class_embedding"):
        patches.register_forward_hook(lambda _module, _inputs, output: output.float())
