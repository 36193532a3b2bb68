"""Text features that a request's score needs.

Axes: L labels, M background prompts, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from clip_engine.dual_encoder import TrainedWith
from clip_engine.scoring.alternatives import background, negated
from clip_engine.scoring.options import Scoring

TextList = tuple[tuple[str, ...], tuple[str, ...]]  # labels and their templates


@dataclass(frozen=True, eq=False, slots=True)
class TextFeatures:
    """Features of labels, and of the texts that they are compared with. Rows have length 1.

    Attributes:
        labels: float32 `[L, D]`.
        negations: `[L, D]`, of each label's negation; for the sigmoid of a model that was trained
            with softmax.
        background: `[M, D]`; for the same, and for "none of these".
    """

    labels: Tensor
    negations: Tensor | None = None
    background: Tensor | None = None

    @classmethod
    def of_lists(cls, features: Sequence[Tensor]) -> Self:
        """From the features of each list of `text_lists`, in its order."""
        labels, *others = features
        negations = others[0] if len(others) > 1 else None
        return cls(labels, negations, others[-1] if others else None)


def text_lists(
    labels: tuple[str, ...], templates: tuple[str, ...], scoring: Scoring, trained_with: TrainedWith
) -> tuple[TextList, ...]:
    """The lists of texts whose features a score needs: labels, negations, background.

    The labels' own come first. Those alone are needed for a score without "none of these", and for
    the sigmoid of a model that was trained with it.
    """
    own = (labels, templates)
    backgrounds = (background(labels), templates)
    if scoring.score == "sigmoid":
        if trained_with == "sigmoid":
            return (own,)
        return own, (labels, tuple(negated(template) for template in templates)), backgrounds
    return (own, backgrounds) if scoring.none_of_these else (own,)
