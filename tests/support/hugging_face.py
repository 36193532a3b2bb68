"""CLIP models of transformers, with random weights."""

from __future__ import annotations

from typing import Any

import transformers
from support.oracles import fill


def clip_model(
    vision: dict[str, Any], text: dict[str, Any], dim: int, act: str = "quick_gelu"
) -> Any:
    """A CLIPModel; MLPs are four times as wide as the tower."""
    towers = [
        tower | {"intermediate_size": 4 * tower["hidden_size"], "hidden_act": act}
        for tower in (vision, text)
    ]
    config = transformers.CLIPConfig(
        vision_config=towers[0], text_config=towers[1], projection_dim=dim
    )
    return fill(transformers.CLIPModel(config), seed=8)


def tower(width: int, heads: int, layers: int, **numbers: int) -> dict[str, Any]:
    """A tower's part of the config."""
    sizes = {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers}
    return sizes | numbers


def small_model(act: str = "quick_gelu") -> Any:
    """With heads of 48 and of 32."""
    return clip_model(tower(96, 2, 2, image_size=32, patch_size=8), tower(64, 2, 3), 32, act)
