"""What the engine needs of a model: the protocol that every model family implements.

Axes: B images, N texts, T tokens, D embedding, R pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from clip_engine.images.normalisation import Normalisation
from clip_engine.images.transform import ImageTransform
from clip_engine.precision import Precision

TrainedWith: TypeAlias = Literal["softmax", "sigmoid"]


class DualEncoder(Protocol):
    """An image tower and a text tower with a common embedding space, on their device.

    Both towers may be used by several threads at the same time.

    Attributes:
        device: Where both towers run.
        precision: Of the image tower's weights and matrix products.
        transform: How an image becomes pixels.
        normalisation: Of the pixels.
        embed_dim: D.
        image_tokens: Tokens of an image in the image tower; batch sizes depend on it.
        logit_scale: Factor of the cosines, its exponential taken.
        logit_bias: Added to the scaled cosines; 0 for a model that was trained with softmax.
        trained_with: The loss: softmax (CLIP, arXiv:2103.00020) or sigmoid (SigLIP,
            arXiv:2303.15343).
    """

    device: torch.device
    precision: Precision
    transform: ImageTransform
    normalisation: Normalisation
    embed_dim: int
    image_tokens: int
    logit_scale: float
    logit_bias: float
    trained_with: TrainedWith

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Features `[B, D]` of normalised float32 pixels `[B, 3, R, R]`; not normalised."""

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token numbers, int64 `[N, T]` on the CPU.

        Raises:
            TextTooLongError: A text has too many tokens; nothing is truncated.
        """

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features, float32 `[N, D]` on the device, of tokens on the CPU; not normalised."""
