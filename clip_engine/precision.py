"""The precision of the image tower's matrix products, and its default on each device."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]


def default_precision(device: torch.device) -> Precision:
    """float16 on CUDA, float32 elsewhere: what changes no probability by more than 0.01.

    On a CPU bfloat16 is faster but changes more (docs/performance.md), so it has to be asked for.
    """
    return "float16" if device.type == "cuda" else "float32"
