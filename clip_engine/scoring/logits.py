"""From features to logits, and from logits to probabilities.

Axes: B images, L labels, M background prompts, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.dual_encoder import DualEncoder
from clip_engine.errors import InputError
from clip_engine.scoring.options import Scoring
from clip_engine.scoring.text_features import TextFeatures

LABELS_AT_ONCE = 1024  # 2 MB of features of 512 float32 each

Product: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # [B, D] and [L, D] to [B, L]


class Logits(NamedTuple):
    """What a calibration is fitted to: logits that no temperature or bias has changed.

    Attributes:
        labels: float32 `[B, L]`: scaled cosines, or for `sigmoid` the log-odds of each label.
        none: `[B]`, of "none of these" as one more class; None where it was not asked for, and for
            `sigmoid`, which has it from the labels.
    """

    labels: Tensor
    none: Tensor | None = None


class Probabilities(NamedTuple):
    """Probabilities in [0, 1].

    Attributes:
        labels: float32 `[B, L]`.
        none: `[B]`, that no label fits; None where that was not asked for.
    """

    labels: Tensor
    none: Tensor | None = None


def products(image_features: Tensor, text_features: Tensor) -> Tensor:
    """Inner products `[B, L]` that no other image changes in any bit.

    That takes a batch of products, one an image. Labels are taken in chunks that stay in the
    processor's cache for all images.
    """
    rows = image_features[:, None]  # [B, 1, D]
    found = [
        rows.bmm(text_features[start : start + LABELS_AT_ONCE].T.expand(len(rows), -1, -1))
        for start in range(0, len(text_features), LABELS_AT_ONCE)
    ]
    return (found[0] if len(found) == 1 else torch.cat(found, dim=2))[:, 0]


def one_product(image_features: Tensor, text_features: Tensor) -> Tensor:
    """Inner products `[B, L]` in one matrix product: several times as fast for many images.

    The number of images may change the last bits.
    """
    return image_features @ text_features.T


def logits(
    model: DualEncoder,
    image_features: Tensor,
    text: TextFeatures,
    scoring: Scoring,
    multiply: Product = products,
) -> Logits:
    """The logits of `scoring.score`; those of `cosine` and `logit` are the softmax's.

    Args:
        model: Its scale, its bias, and what it was trained with.
        image_features: `[B, D]`, each row of length 1.
        text: The features that `text_lists` names.
        scoring: Its temperature and bias are not applied.
        multiply: `products` or `one_product`.

    Raises:
        InputError: Features that the score needs are missing.
    """
    scaled = model.logit_scale * image_features
    labels = multiply(scaled, text.labels)
    if scoring.score == "sigmoid":
        if model.trained_with == "sigmoid":
            return Logits(labels + model.logit_bias)
        against = multiply(scaled, _needed(text.negations, scoring))
        return Logits(
            labels - torch.logaddexp(against, _background(scaled, text, scoring, multiply)[:, None])
        )
    background = _background(scaled, text, scoring, multiply) if scoring.none_of_these else None
    return Logits(labels, background)


def probabilities(found: Logits, scoring: Scoring) -> Probabilities:
    """Softmax or sigmoid of logits, with the temperature and the bias of a calibration."""
    labels = found.labels
    if scoring.temperature != 1:
        labels = labels / scoring.temperature
    if scoring.score == "sigmoid":
        odds = labels - scoring.none_bias
        none = by_row(_no_label, odds, like=odds[:, 0]) if scoring.none_of_these else None
        return Probabilities(by_row(torch.sigmoid, odds, like=odds), none)
    if found.none is None:
        return Probabilities(labels.softmax(dim=-1))
    none = found.none / scoring.temperature + scoring.none_bias
    together = torch.cat([labels, none[:, None]], dim=1).softmax(dim=-1)  # [B, L + 1]
    return Probabilities(together[:, :-1], together[:, -1])


def raw_scores(model: DualEncoder, found: Logits, scoring: Scoring) -> Tensor | None:
    """The cosines or the model's own logits, `[B, L]`; None where a probability was asked for."""
    if scoring.score == "cosine":
        return (found.labels / model.logit_scale).clamp(-1, 1)
    if scoring.score == "logit":
        return found.labels + model.logit_bias
    return None


def by_row(function: Callable[..., Tensor], *batches: Tensor, like: Tensor) -> Tensor:
    """Apply a function to one image after the other, so that no other changes a bit.

    torch's exponentials and logarithms round otherwise at the end of a vector of the processor, and
    where that is depends on the place in a batch.

    Args:
        function: Of one row of each batch.
        batches: `[B, ...]` each.
        like: Of the result's shape.
    """
    result = torch.empty_like(like)
    for row, *given in zip(result, *batches, strict=True):
        row.copy_(function(*given))
    return result


def _background(scaled: Tensor, text: TextFeatures, scoring: Scoring, multiply: Product) -> Tensor:
    """The logit `[B]` of one class, whose prompts are an ensemble as a label's templates are."""
    prompts = _needed(text.background, scoring)  # [M, D]
    return multiply(scaled, functional.normalize(prompts.mean(dim=0, keepdim=True)))[:, 0]


def _no_label(odds: Tensor) -> Tensor:
    """The product of the complements of one image's labels `[L]`."""
    return functional.logsigmoid(-odds).sum().exp()


def _needed(features: Tensor | None, scoring: Scoring) -> Tensor:
    if features is None:
        raise InputError(
            f"The score {scoring.score!r} with none_of_these={scoring.none_of_these} needs more "
            "text features; get them for all lists of Engine.text_lists."
        )
    return features
