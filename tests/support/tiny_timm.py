"""Small versions of timm's image towers, under names of their own in its registry.

Each is made by the function of a real tower, with fewer and narrower layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timm.models import (
    convnext,
    eva,
    fastvit,
    register_model,
    vision_transformer,
    vision_transformer_hybrid,
)
from timm.models.vitamin import VitCfg, VitConvCfg, vitamin_small_224

if TYPE_CHECKING:
    from torch import nn

VIT = {"embed_dim": 64, "depth": 2, "num_heads": 2, "img_size": 64}


def tiny_siglip(*, pretrained: bool = False, **options: Any) -> nn.Module:
    return vision_transformer.vit_base_patch16_siglip_224(**VIT | options)


def tiny_eva02(*, pretrained: bool = False, **options: Any) -> nn.Module:
    return eva.eva02_base_patch16_clip_224(**VIT | options)


def tiny_pe_core(*, pretrained: bool = False, **options: Any) -> nn.Module:
    small = {**VIT, "attn_pool_num_heads": 2, "ref_feat_shape": (4, 4)}
    return eva.vit_pe_core_tiny_patch16_384(**small | options)


def tiny_mci_vit(*, pretrained: bool = False, **options: Any) -> nn.Module:
    # its stem has 768 channels, whatever the width is
    small = {"depth": 1, "img_size": 64}
    return vision_transformer_hybrid.vit_base_mci_224(**small | options)


def tiny_mci(*, pretrained: bool = False, **options: Any) -> nn.Module:
    small = {"layers": (1, 1, 2, 1), "embed_dims": (16, 32, 64, 128)}
    return fastvit.fastvit_mci0(**small | options)


def tiny_mci3(*, pretrained: bool = False, **options: Any) -> nn.Module:
    small = {"layers": (1, 1, 1, 1, 1), "embed_dims": (16, 32, 64, 128, 256)}
    return fastvit.fastvit_mci3(**small | options)


def tiny_convnext(*, pretrained: bool = False, **options: Any) -> nn.Module:
    small = {"depths": [1, 1, 2, 1], "dims": [16, 32, 48, 64]}
    return convnext.convnext_base(**small | options)


def tiny_vitamin(*, pretrained: bool = False, **options: Any) -> nn.Module:
    stages = VitCfg(
        embed_dim=(16, 32, 64),
        depths=(1, 1, 1),
        stem_width=16,
        conv_cfg=VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6),
        head_type="1d",
    )
    return vitamin_small_224(**VIT | {"embed_cfg": stages} | options)


for tower in (
    tiny_siglip,
    tiny_eva02,
    tiny_pe_core,
    tiny_mci_vit,
    tiny_mci,
    tiny_mci3,
    tiny_convnext,
    tiny_vitamin,
):
    register_model(tower)
