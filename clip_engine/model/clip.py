"""CLIP: an image tower and a text tower with a common embedding space.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"
(arXiv:2103.00020). Attribute names are those of OpenAI's checkpoints.
Axes: B images, L texts, T tokens, W text width, D embedding, R pixels a side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from clip_engine.model.config import MLP_RATIO, CLIPConfig
from clip_engine.model.layers import draw, draw_into
from clip_engine.model.resnet import ModifiedResNet
from clip_engine.model.transformer import BlockShape, Transformer
from clip_engine.model.vision_transformer import VisionTransformer

INITIAL_TEMPERATURE = 0.07  # section 2.5 of the paper


class CLIP(nn.Module):
    """Both towers, initialised for training as the paper's appendix says.

    Args:
        config: The hyper-parameters.
    """

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        width = config.transformer_width
        self.visual = _image_tower(config)
        self.transformer = Transformer(config.transformer_layers, _text_block(config))
        # Given a weight, nn.Embedding initialises none itself; see `draw_into`.
        unset = torch.empty(config.vocab_size, width)
        self.token_embedding = nn.Embedding(config.vocab_size, width, _weight=unset)
        self.positional_embedding = draw(config.context_length, width, std=0.01)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = draw(width, config.embed_dim, std=width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))
        draw_into(self.token_embedding.weight, std=0.02)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Encode images.

        Args:
            pixels: `[B, 3, R, R]`, normalised with the model's mean and standard deviation.

        Returns:
            Features `[B, D]`, not normalised.
        """
        return self.visual(pixels)  # type: ignore[no-any-return]  # nn.Module.__call__ is Any

    def encode_text(self, tokens: Tensor, *, trim: bool = True) -> Tensor:
        """Encode texts.

        Args:
            tokens: `[L, T]` int64, zeros after the end mark, which is the largest token number.
            trim: Whether to compute only the columns up to the longest text's end mark. The result
                is the same: the mask is causal, so later columns don't affect the end mark's.

        Returns:
            Features `[L, D]`, not normalised.
        """
        ends = tokens.argmax(dim=-1)  # [L]
        tokens = tokens[:, : int(ends.max()) + 1] if trim else tokens
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]  # [L, T, W]
        x = self.transformer(x)[torch.arange(len(ends), device=ends.device), ends]  # [L, W]
        return self.ln_final(x) @ self.text_projection  # type: ignore[no-any-return]  # [L, D]

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """Score images against texts.

        Args:
            pixels: As for `encode_image`.
            tokens: As for `encode_text`.

        Returns:
            Logits `[B, L]`: cosine similarity times the exponential of the logit scale.
        """
        images = nn.functional.normalize(self.encode_image(pixels), dim=-1)
        texts = nn.functional.normalize(self.encode_text(tokens), dim=-1)
        return self.logit_scale.exp() * images @ texts.T


def _image_tower(config: CLIPConfig) -> VisionTransformer | ModifiedResNet:
    if isinstance(config.vision_layers, tuple):
        return ModifiedResNet(
            layers=config.vision_layers,
            width=config.vision_width,
            heads=config.vision_heads,
            input_resolution=config.image_resolution,
            output_dim=config.embed_dim,
        )
    return VisionTransformer(
        input_resolution=config.image_resolution,
        patch_size=config.vision_patch_size or config.image_resolution,
        layers=config.vision_layers,
        block=_image_block(config),
        output_dim=config.embed_dim,
    )


def _image_block(config: CLIPConfig) -> BlockShape:
    return BlockShape(
        width=config.vision_width,
        heads=config.vision_heads,
        mlp_width=config.vision_mlp_width or MLP_RATIO * config.vision_width,
        activation=config.activation,
        causal=False,
    )


def _text_block(config: CLIPConfig) -> BlockShape:
    return BlockShape(
        width=config.transformer_width,
        heads=config.transformer_heads,
        mlp_width=config.transformer_mlp_width or MLP_RATIO * config.transformer_width,
        activation=config.activation,
        causal=True,
    )
