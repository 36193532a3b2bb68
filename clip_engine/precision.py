"""The precision of the image tower's matrix products, by default: what its device is fast at."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]


def default_precision(device: torch.device) -> Precision:
    """float16 on CUDA, bfloat16 on a CPU with AMX tiles, float32 elsewhere."""
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if device.type == "cpu" and _has_amx() else "float32"


def _has_amx() -> bool:
    # torch has no public word for it, and may drop this one.
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())
