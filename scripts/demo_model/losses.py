"""The contrastive loss of the demo model, with the truth of every caption about every picture.

Axes: B pictures, L captions, A attributes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clip_engine.demo.world.scenes import POSITIONS
from demo_model.dataset import ONE_INDEX, UNTOLD


def truth(scenes: Tensor, meanings: Tensor) -> Tensor:
    """Which captions are true of which pictures.

    Args:
        scenes: `[B, A]` indices.
        meanings: `[L, A]` indices, `UNTOLD` where a caption doesn't tell.

    Returns:
        bool `[B, L]`.
    """
    agrees = (meanings[None] == UNTOLD) | (meanings[None] == scenes[:, None])  # [B, L, A]
    is_single = scenes[:, None, 0] < len(POSITIONS)  # [B, 1]
    agrees[..., 0] |= (meanings[None, :, 0] == ONE_INDEX) & is_single
    return agrees.all(dim=-1)


def contrastive_loss(logits: Tensor, is_true: Tensor, own_captions: int) -> Tensor:
    """CLIP's symmetric loss, but nobody is pushed away from what is true of it.

    Args:
        logits: `[B, L]`; the caption c of picture b is column c * B + b. Captions past
            `own_captions` a picture only serve as wrong answers.
        is_true: bool `[B, L]`.
        own_captions: Captions of its own that each picture is drawn to.
    """
    batch = len(logits)
    false_only = logits.masked_fill(is_true, -torch.inf)
    denominator_of_picture = false_only.logsumexp(dim=1)  # [B]
    denominator_of_caption = false_only.logsumexp(dim=0)  # [L]
    loss = logits.new_zeros(())
    for c in range(own_captions):
        own = logits[:, c * batch : (c + 1) * batch].diagonal()  # [B]
        others = denominator_of_caption[c * batch : (c + 1) * batch]
        loss = loss + nn.functional.softplus(denominator_of_picture - own).mean()
        loss = loss + nn.functional.softplus(others - own).mean()
    return loss / (2 * own_captions)


def label_loss(logits: Tensor, scenes: Tensor, sizes: list[int]) -> Tensor:
    """Cross-entropy of each picture among the one-word labels of each axis.

    Args:
        logits: `[B, sum of sizes]`, the labels axis by axis.
        scenes: `[B, A]` indices.
        sizes: Number of values on each axis.
    """
    parts = torch.split(logits, sizes, dim=1)
    losses = [nn.functional.cross_entropy(part, scenes[:, i]) for i, part in enumerate(parts)]
    return torch.stack(losses).mean()
