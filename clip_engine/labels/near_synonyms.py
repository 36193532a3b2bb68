"""Finds labels that a model can hardly tell from an earlier one.

Axes: L labels, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from clip_engine.labels.finding import Finding

BLOCK = 2048  # labels; a block of cosines has 16 MB
LEAST_SHARE = 0.05  # docs/labels.md says why


def share_of_the_other(cosine: float, logit_scale: float) -> float:
    """The part of two labels' common probability that one gets from a picture of the other.

    The picture is one whose feature is exactly the other label's, so its logits are the logit scale
    times 1 and times the labels' cosine. Features of real pictures lie farther away, and share
    their probability more evenly.

    >>> round(share_of_the_other(0.98, 100), 3), share_of_the_other(1.0, 100)
    (0.119, 0.5)
    """
    return 1 / (1 + math.exp(min(logit_scale * max(1 - cosine, 0.0), 700.0)))


def check_near_synonyms(
    features: Tensor, logit_scale: float, least_share: float = LEAST_SHARE
) -> Iterator[Finding]:
    """Find the labels that share their probability with an earlier one.

    Each is reported once, with the earlier label that is most similar; so of five words for one
    thing four are reported.

    Args:
        features: The labels', float32 `[L, D]`, each row of length 1.
        logit_scale: The model's.
        least_share: The smallest `share_of_the_other` that is reported.
    """
    least_cosine = 1 - math.log(1 / least_share - 1) / logit_scale
    cosines, others = nearest_before(features)
    for index in (cosines >= least_cosine).nonzero()[:, 0].tolist():
        share = share_of_the_other(float(cosines[index]), logit_scale)
        reason, remedy = "means nearly the same to this model as", "keep one of the two"
        yield Finding(index, "near-synonym", reason, remedy, int(others[index]), share)


@torch.inference_mode()
def nearest_before(features: Tensor, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """The largest cosine of each row with a row before it, and that row's position.

    Args:
        features: float32 `[L, D]`, each row of length 1.
        block: Rows in a matrix product.

    Returns:
        float32 and int64 `[L]`; the first row has -inf and 0.
    """
    best = torch.full((len(features),), -math.inf)
    where = torch.zeros(len(features), dtype=torch.int64)
    for start in range(0, len(features), block):
        rows = features[start : start + block]
        for first in range(0, start + 1, block):
            cosines = rows @ features[first : first + block].T  # [<= block, <= block]
            if first == start:  # only rows before: the part below the diagonal
                cosines.masked_fill_(torch.ones_like(cosines, dtype=torch.bool).triu(), -math.inf)
            values, columns = cosines.max(dim=1)
            mine = slice(start, start + len(rows))
            where[mine] = torch.where(values > best[mine], columns + first, where[mine])
            best[mine] = torch.maximum(values, best[mine])
    return best, where
