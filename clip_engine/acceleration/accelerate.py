"""Applies the chosen pieces of acceleration to a model, in the order that works."""

from __future__ import annotations

import torch

from clip_engine.acceleration.attention import plain_attention
from clip_engine.acceleration.linear_patches import linear_patches
from clip_engine.acceleration.pieces import Acceleration
from clip_engine.acceleration.prepacked import prepack
from clip_engine.acceleration.quick_gelu import fold_quick_gelu
from clip_engine.model import CLIP
from clip_engine.model.layers import store_weights
from clip_engine.model.transformer import Attention
from clip_engine.precision import Precision


def accelerate(model: CLIP, pieces: Acceleration, precision: Precision) -> None:
    """Store the image tower's weights in `precision` and put the pieces in.

    Args:
        model: In eval mode, on its device. Patches, folding and packing change it, and then
            its state dict is no longer a checkpoint's.
        pieces: Of these, those that change a model.
        precision: Of the image tower's products.
    """
    if not pieces.sdpa:
        for module in model.modules():
            if isinstance(module, Attention):
                module.attend = plain_attention
    if pieces.linear_patches:
        linear_patches(model.visual)
    if pieces.folded_gelu:
        fold_quick_gelu(model)
    store_weights(model.visual, getattr(torch, precision))  # after folding: each weight rounds once
    if pieces.prepacked and model.logit_scale.device.type == "cpu":
        prepack(model)  # last, for what is packed can't be changed any more
