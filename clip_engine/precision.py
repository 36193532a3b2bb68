"""The precision of the image tower's matrix products, and its default on each device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Precision: TypeAlias = Literal["float32", "float16", "bfloat16", "int8"]


def default_precision(device: torch.device, weights: Iterable[Tensor] = ()) -> Precision:
    """float16 on CUDA, float32 elsewhere; neither changes a probability by more than 0.01.

    On CUDA it is bfloat16 where most of a checkpoint's weights are stored in that.

    On a CPU bfloat16 is faster but changes more (docs/performance.md), so it is not the default.
    """
    if device.type != "cuda":
        return "float32"
    rest = sum(each.numel() * (-1 if each.dtype == torch.bfloat16 else 1) for each in weights)
    return "bfloat16" if rest < 0 else "float16"
