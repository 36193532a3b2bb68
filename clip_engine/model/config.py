"""Hyper-parameters of a CLIP model, inferred from a state dict's keys and shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from clip_engine.errors import CheckpointError

MLP_RATIO = 4  # of an MLP's width to its tower's, in every OpenAI model

StateDict: TypeAlias = Mapping[str, Tensor]
Activation: TypeAlias = Literal["quick_gelu", "gelu"]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What can't be inferred from the weights' names and shapes; the defaults are OpenAI's.

    Attributes:
        activation: Of the MLPs in both towers: OpenAI's approximation, or the exact GELU of most
            OpenCLIP models.
        vision_head_width: Width of an attention head in the image tower.
        transformer_head_width: Width of an attention head in the text tower.
    """

    activation: Activation = "quick_gelu"
    vision_head_width: int = 64
    transformer_head_width: int = 64


OPENAI_TRAITS = Traits()


@dataclass(frozen=True, kw_only=True)
class CLIPConfig(Traits):
    """All that is needed to build both towers.

    Attributes:
        embed_dim: D, the size of the embeddings of images and texts.
        image_resolution: R, pixels a side.
        vision_layers: Resblocks of a ViT, or the bottlenecks of a ResNet's four stages.
        vision_width: Token width of a ViT, or channels after a ResNet's stem.
        vision_patch_size: Side of a ViT's patch, in pixels; None for a ResNet.
        context_length: Largest number of tokens of a text, including start and end marks.
        vocab_size: Number of tokens.
        transformer_width: Width of the text tower.
        transformer_layers: Resblocks of the text tower.
        vision_mlp_width: Inner width of a ViT's MLPs; None for four times `vision_width`.
        transformer_mlp_width: Likewise for the text tower.

    >>> CLIPConfig(embed_dim=512, image_resolution=224, vision_layers=12, vision_width=768,
    ...            vision_patch_size=32, transformer_width=512, transformer_layers=12
    ...            ).vision_heads  # ViT-B/32
    12
    """

    embed_dim: int
    image_resolution: int
    vision_layers: int | tuple[int, int, int, int]
    vision_width: int
    vision_patch_size: int | None
    transformer_width: int
    transformer_layers: int
    context_length: int = 77
    vocab_size: int = 49408
    vision_mlp_width: int | None = None
    transformer_mlp_width: int | None = None

    @property
    def attended_width(self) -> int:
        """Width of the ViT's tokens, or of the ResNet's pool, which is 32 times the stem's."""
        return self.vision_width if self.vision_patch_size else self.vision_width * 32

    @property
    def vision_heads(self) -> int:
        """Attention heads of the ViT, or of the ResNet's pool."""
        return self.attended_width // self.vision_head_width

    @property
    def transformer_heads(self) -> int:
        """Attention heads of the text tower."""
        return self.transformer_width // self.transformer_head_width


def infer_config(state: StateDict, traits: Traits = OPENAI_TRAITS) -> CLIPConfig:
    """Infer the hyper-parameters from a state dict in OpenAI's layout.

    Args:
        state: Weights by name.
        traits: What can't be inferred from them.

    Raises:
        CheckpointError: A key that every CLIP model has is missing, or a tower's width is not a
            multiple of the head width.
    """
    try:
        vision = _infer_vit(state) if "visual.proj" in state else _infer_resnet(state)
        context_length, transformer_width = state["positional_embedding"].shape
        config = CLIPConfig(
            embed_dim=state["text_projection"].shape[1],
            context_length=context_length,
            vocab_size=state["token_embedding.weight"].shape[0],
            transformer_width=transformer_width,
            transformer_layers=count_resblocks(state, "transformer"),
            transformer_mlp_width=_mlp_width(state, "transformer", transformer_width),
            image_resolution=vision.resolution,
            vision_layers=vision.layers,
            vision_width=vision.width,
            vision_patch_size=vision.patch_size,
            vision_mlp_width=_mlp_width(state, "visual.transformer", vision.width),
            **asdict(traits),
        )
    except KeyError as error:
        found = ", ".join(sorted(state)[:3]) or "none"
        raise CheckpointError(
            f"The weights lack {error.args[0]!r}, which every CLIP model has; their first keys are "
            f"{found}. Give a CLIP checkpoint in OpenAI's layout."
        ) from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(
            f"The weights don't have the shapes of a CLIP model: {error}."
        ) from error
    _check_heads(config)
    return config


def count_resblocks(state: StateDict, tower: str) -> int:
    """Number of resblocks of the transformer whose keys start with `tower`."""
    return _count(state, rf"{re.escape(tower)}\.resblocks\.(\d+)\.")


def _check_heads(config: CLIPConfig) -> None:
    # Otherwise the model would have fewer, wider heads and give wrong answers silently.
    for tower, width, head_width in (
        ("image", config.attended_width, config.vision_head_width),
        ("text", config.transformer_width, config.transformer_head_width),
    ):
        if width % head_width:
            raise CheckpointError(
                f"The {tower} tower's width {width} is not a multiple of the head width "
                f"{head_width}; put the model's config file, which has it, beside its weights."
            )


@dataclass(frozen=True)
class _Vision:
    resolution: int
    layers: int | tuple[int, int, int, int]
    width: int
    patch_size: int | None


def _infer_vit(state: StateDict) -> _Vision:
    width, _, _, patch_size = state["visual.conv1.weight"].shape
    layers = count_resblocks(state, "visual.transformer")
    return _Vision(patch_size * _grid(state, "visual"), layers, width, patch_size)


def _infer_resnet(state: StateDict) -> _Vision:
    one, two, three, four = (_count(state, rf"visual\.layer{i}\.(\d+)\.") for i in (1, 2, 3, 4))
    width = state["visual.layer1.0.conv1.weight"].shape[0]
    return _Vision(32 * _grid(state, "visual.attnpool"), (one, two, three, four), width, None)


def _grid(state: StateDict, tower: str) -> int:
    """Positions a side; the positional embedding has a row for each position, and one more."""
    return math.isqrt(state[f"{tower}.positional_embedding"].shape[0] - 1)


def _count(state: StateDict, pattern: str) -> int:
    """Number of different block indices that the pattern's group captures."""
    matches = (re.match(pattern, key) for key in state)
    return len({match[1] for match in matches if match})


def _mlp_width(state: StateDict, tower: str, width: int) -> int | None:
    first = state.get(f"{tower}.resblocks.0.mlp.c_fc.weight")
    return None if first is None or first.shape[0] == MLP_RATIO * width else first.shape[0]
