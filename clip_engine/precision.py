"""The precision of the image tower's matrix products, and its default on each device."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["float32", "float16", "bfloat16", "int8"]


def default_precision(device: torch.device) -> Precision:
    """float16 on CUDA, float32 elsewhere; neither changes a probability by more than 0.01.

    On a CPU bfloat16 is faster but changes more (docs/performance.md), so it is not the default.
    """
    return "float16" if device.type == "cuda" else "float32"
