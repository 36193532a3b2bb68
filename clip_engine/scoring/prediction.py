"""A label of an image, as `Engine.classify` returns it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clip_engine.scoring.ranking import Ranking

NONE_OF_THESE = "none of these"


@dataclass(frozen=True)
class Prediction:
    """A label of an image with its probability.

    Attributes:
        label: The label, as given.
        probability: Softmax over all labels of the call, or for `sigmoid` the label's own; in
            [0, 1].
        index: Position in the call's list of labels; -1 for "none of these".
        score: The cosine or logit, where that was asked for.
    """

    label: str
    probability: float
    index: int
    score: float | None = None


def predictions(ranking: Ranking, labels: Sequence[str]) -> list[list[Prediction]]:
    """Each image's labels, best first; the last is "none of these" where that was asked for."""
    found = []
    for row, indices in enumerate(ranking.indices):
        chances = ranking.probabilities[row]
        scores = ranking.scores[row] if ranking.scores else [None] * len(indices)
        of_image = [
            Prediction(labels[index], probability, index, score)
            for index, probability, score in zip(indices, chances, scores, strict=True)
        ]
        if ranking.none_of_these is not None:
            of_image.append(Prediction(NONE_OF_THESE, ranking.none_of_these[row], -1))
        found.append(of_image)
    return found
