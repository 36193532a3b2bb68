"""The config file of OpenCLIP, `open_clip_config.json`.

Field names and defaults are those of open_clip/model.py (`CLIPVisionCfg`, `CLIPTextCfg`) and
open_clip/transform.py (`PreprocessCfg`). A field for a feature that isn't supported accepts only
the value that turns it off; unknown fields are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from clip_engine.formats.preprocessing import Preprocessing
from clip_engine.model import Traits

Stages = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
Off = Literal[False]


class _Tower(BaseModel):
    """The fields that both towers' configs share; none of these features is supported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ls_init_value: None = None
    final_ln_after_pool: Off = False
    output_tokens: Off = False
    act_kwargs: None = None
    norm_kwargs: None = None
    block_type: Literal["default"] | None = None
    qk_norm: Off = False
    scaled_cosine_attn: Off = False
    scale_heads: Off = False
    scale_attn_inner: Off = False
    scale_attn: Off = False
    scale_fc: Off = False
    mlp_ratio: float = 4.0  # unused: the MLP's width is that of the weights


class VisionConfig(_Tower):
    """`vision_cfg`: of a ViT if `layers` is a number, of CLIP's ResNet if it is a list."""

    layers: PositiveInt | Stages = 12
    width: PositiveInt = 768
    head_width: PositiveInt = 64
    patch_size: PositiveInt | None = 16
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] = 224
    patch_dropout: float = 0.0  # in training only
    attentional_pool: Off = False
    attn_pooler_queries: Any = None  # of the attentional pool
    attn_pooler_heads: Any = None  # likewise
    no_ln_pre: Off = False
    pos_embed_type: Literal["learnable"] = "learnable"
    pool_type: Literal["tok"] = "tok"
    timm_model_name: None = None
    timm_model_pretrained: Any = None  # of timm's towers, like all that follow
    timm_pool: Any = None
    timm_proj: Any = None
    timm_proj_bias: Any = None
    timm_drop: Any = None
    timm_drop_path: Any = None

    @model_validator(mode="after")
    def _square(self) -> VisionConfig:
        if isinstance(self.image_size, tuple) and len(set(self.image_size)) > 1:
            raise ValueError(f"image_size is {self.image_size}; images must be square")
        return self

    @property
    def resolution(self) -> int:
        """Pixels a side."""
        return self.image_size[0] if isinstance(self.image_size, tuple) else self.image_size


class TextConfig(_Tower):
    """`text_cfg`: CLIP's causal transformer."""

    context_length: PositiveInt = 77
    vocab_size: PositiveInt = 49408
    hf_tokenizer_name: str | None = None  # may be CLIP's own; vocab_size decides
    tokenizer_mode: None = None
    tokenizer_kwargs: Annotated[dict[str, Any] | None, Field(max_length=0)] = None
    width: PositiveInt = 512
    heads: PositiveInt = 8
    layers: PositiveInt = 12
    embed_cls: Off = False
    pad_id: Any = None  # irrelevant, because the mask is causal
    eos_id: Any = None  # of other pool types
    no_causal_mask: Off = False
    pool_type: Literal["argmax"] = "argmax"
    proj_bias: Off = False
    proj_type: Literal["linear"] = "linear"
    hf_model_name: None = None
    hf_model_pretrained: Any = None  # of Hugging Face's text towers, like all that follow
    hf_proj_type: Any = None
    hf_pooler_type: Any = None

    @model_validator(mode="after")
    def _whole_heads(self) -> TextConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class ModelConfig(BaseModel):
    """`model_cfg`: the arguments of `open_clip.CLIP`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    embed_dim: PositiveInt
    vision_cfg: VisionConfig
    text_cfg: TextConfig
    quick_gelu: bool = False
    custom_text: Off = False
    init_logit_scale: Any = None  # in training only
    init_logit_bias: None = None
    nonscalar_logit_scale: Off = False
    cast_dtype: Any = None
    output_dict: Any = None


class OpenCLIPConfig(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_cfg: ModelConfig
    preprocess_cfg: Preprocessing = Preprocessing()

    def traits(self) -> Traits:
        """What the weights don't determine."""
        text = self.model_cfg.text_cfg
        return Traits(
            activation="quick_gelu" if self.model_cfg.quick_gelu else "gelu",
            vision_head_width=self.model_cfg.vision_cfg.head_width,
            transformer_head_width=text.width // text.heads,
        )

    def sizes(self) -> dict[str, object]:
        """Sizes that must match the weights, by `CLIPConfig`'s names."""
        vision, text = self.model_cfg.vision_cfg, self.model_cfg.text_cfg
        return {
            "embed_dim": self.model_cfg.embed_dim,
            "image_resolution": vision.resolution,
            "vision_layers": vision.layers,
            "vision_width": vision.width,
            "vision_patch_size": vision.patch_size if isinstance(vision.layers, int) else None,
            "context_length": text.context_length,
            "vocab_size": text.vocab_size,
            "transformer_width": text.width,
            "transformer_layers": text.layers,
        }
