"""The configs of small models of open_clip's families; `open_clip_families` saves them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import open_clip
from support import tiny_tokenizers
from support.oracles import SIGMOID_BIAS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
OPENAI = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
# Image and text towers of open_clip's own.
VIT = {"image_size": 48, "layers": 2, "width": 128, "head_width": 64, "patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
HUB_TEXT = TEXT | {"vocab_size": 640}


@dataclass(frozen=True)
class Family:
    """What open_clip's config of a small model says.

    Attributes:
        vision: `vision_cfg`.
        text: `text_cfg`.
        more: Other entries of `model_cfg`.
        preprocessing: `preprocess_cfg`.
        tokenizer: Writes the files of transformers' tokenizer; None for CLIP's own.
        text_tower: Writes the `config.json` of transformers' text tower; None for open_clip's own.
    """

    vision: dict[str, Any]
    text: dict[str, Any] = field(default_factory=lambda: TEXT)
    more: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(default_factory=lambda: dict(OPENAI))
    tokenizer: Callable[[Path], None] | None = None
    text_tower: Callable[[Path], None] | None = None

    @property
    def config(self) -> dict[str, Any]:
        """`model_cfg`."""
        towers: dict[str, Any] = {"embed_dim": 64, "vision_cfg": self.vision, "text_cfg": self.text}
        return copy.deepcopy(towers | self.more)


def timm_tower(name: str, size: int, pool: str, proj: str | None) -> dict[str, Any]:
    """`vision_cfg` of a tower of timm."""
    return {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
        "image_size": size,
    }


def hub_text(name: str, **more: Any) -> dict[str, Any]:
    """`text_cfg` of open_clip's text tower with a tokenizer of the hub."""
    return HUB_TEXT | {"hf_tokenizer_name": name} | more


def _xlm_roberta(folder: Path) -> None:
    from transformers import XLMRobertaConfig

    XLMRobertaConfig(
        vocab_size=640,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=96,
        type_vocab_size=1,
    ).save_pretrained(folder)


def _roberta(folder: Path) -> None:
    from transformers import RobertaConfig

    RobertaConfig(
        vocab_size=640,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=96,
        type_vocab_size=1,
    ).save_pretrained(folder)


def real_xlm_roberta(folder: Path) -> None:
    """The config of `xlm-roberta-base`."""
    from transformers import XLMRobertaConfig

    XLMRobertaConfig(
        vocab_size=250002, max_position_embeddings=514, type_vocab_size=1
    ).save_pretrained(folder)


def _nllb(folder: Path) -> None:
    from transformers import M2M100Config

    M2M100Config(
        vocab_size=640,
        d_model=64,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=96,
        scale_embedding=True,
    ).save_pretrained(folder)


CUSTOM = {"custom_text": True}
SIGLIP = {"custom_text": True, "init_logit_bias": SIGMOID_BIAS}
SIGLIP_TEXT = {
    "context_length": 64,
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
NLLB = "facebook/nllb-200-distilled-600M"
COCA_TEXT = {"embed_cls": True, "output_tokens": True, "context_length": 76}
COCA_DECODER = TEXT | {"context_length": 76, "attn_pooler_heads": 2}
SQUASHED = HALF | {"interpolation": "bicubic", "resize_mode": "squash"}
BILINEAR = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "interpolation": "bilinear"}

FAMILIES: dict[str, Family] = {
    "siglip": Family(
        timm_tower("tiny_siglip", 64, "map", "none"),
        hub_text("timm/ViT-B-16-SigLIP", **SIGLIP_TEXT),
        SIGLIP,
        SQUASHED,
        tokenizer=tiny_tokenizers.write_t5,
    ),
    "siglip2": Family(
        timm_tower("tiny_siglip", 64, "map", "none"),
        hub_text("timm/ViT-B-16-SigLIP2", **SIGLIP_TEXT, act_kwargs={"approximate": "tanh"}),
        SIGLIP,
        SQUASHED,
        tokenizer=tiny_tokenizers.write_gemma,
    ),
    "metaclip": Family(VIT, more={"quick_gelu": True}),
    "metaclip2": Family(
        VIT,
        hub_text("facebook/xlm-v-base", pool_type="eos", eos_id=2),
        {"quick_gelu": True},
        tokenizer=tiny_tokenizers.write_xlm_roberta,
    ),
    "dfn": Family(VIT | {"head_width": 32, "mlp_ratio": 3.0}, more={"quick_gelu": True}),
    "eva02": Family(timm_tower("tiny_eva02", 64, "token", None), more=CUSTOM),
    "mobileclip2": Family(
        timm_tower("tiny_mci", 96, "avg", None),
        TEXT | {"no_causal_mask": True},
        CUSTOM,
        BILINEAR,
    ),
    "mobileclip2-s3": Family(
        timm_tower("tiny_mci3", 128, "avg", None), TEXT | {"no_causal_mask": True}, CUSTOM, BILINEAR
    ),
    "mobileclip2-b": Family(
        timm_tower("tiny_mci_vit", 64, "token", None), more=CUSTOM, preprocessing=BILINEAR
    ),
    "pe-core": Family(
        timm_tower("tiny_pe_core", 64, "map", None),
        TEXT | {"context_length": 32},
        CUSTOM,
        HALF | {"interpolation": "bilinear", "resize_mode": "squash"},
    ),
    "convnext": Family(timm_tower("tiny_convnext", 64, "", "linear")),
    "coca": Family(
        VIT | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        TEXT | COCA_TEXT,
        CUSTOM | {"multimodal_cfg": COCA_DECODER},
    ),
    "coca-roberta": Family(
        VIT | {"output_tokens": True},
        {
            "hf_model_name": "roberta-base",
            "hf_tokenizer_name": "roberta-base",
            "hf_proj_type": "linear",
            "width": 64,
            "output_tokens": True,
        },
        CUSTOM | {"multimodal_cfg": COCA_DECODER},
        tokenizer=tiny_tokenizers.write_xlm_roberta,
        text_tower=_roberta,
    ),
    "vitamin": Family(timm_tower("tiny_vitamin", 64, "", "linear"), more=CUSTOM),
    "clipa": Family(
        VIT | {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        hub_text(
            "bert-base-uncased",
            context_length=32,
            tokenizer_kwargs={"strip_sep_token": True},
            pool_type="last",
            no_causal_mask=True,
        ),
        preprocessing=HALF | {"resize_mode": "longest", "interpolation": "bilinear"},
        tokenizer=tiny_tokenizers.write_bert,
    ),
    "clips": Family(
        VIT,
        hub_text(
            "bert-base-uncased",
            context_length=80,
            tokenizer_mode="clips",
            pool_type="last",
            no_causal_mask=True,
        ),
        CUSTOM,
        tokenizer=tiny_tokenizers.write_xlm_roberta,
    ),
    "xlm-roberta": Family(
        VIT,
        {
            "hf_model_name": "xlm-roberta-base",
            "hf_tokenizer_name": "xlm-roberta-base",
            "hf_pooler_type": "mean_pooler",
        },
        tokenizer=tiny_tokenizers.write_xlm_roberta,
        text_tower=_xlm_roberta,
    ),
    "nllb": Family(
        timm_tower("tiny_siglip", 64, "map", "none"),
        {
            "hf_model_name": NLLB,
            "hf_tokenizer_name": NLLB,
            "hf_proj_type": "linear",
            "hf_pooler_type": "cls_pooler",
        },
        SIGLIP,
        SQUASHED,
        tokenizer=tiny_tokenizers.write_nllb,
        text_tower=_nllb,
    ),
}
