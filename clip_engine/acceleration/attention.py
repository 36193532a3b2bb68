"""Attention as its formula says: the oracle of the fused call.

Axes: B rows, H heads, N tokens, d = D/H.
"""

from __future__ import annotations

import torch
from torch import Tensor


def plain_attention(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    """`softmax(q kᵀ / √d) v` (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1).

    Args:
        query: `[B, H, N, d]`.
        key: Likewise.
        value: Likewise.
        is_causal: Whether token n sees only tokens 0..n.

    Returns:
        `[B, H, N, d]`.
    """
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5  # [B, H, N, N]
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    weights: Tensor = scores.softmax(dim=-1)  # [B, H, N, N]
    return weights @ value
