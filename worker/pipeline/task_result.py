"""The result of an image task, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_engine.scoring.ranking import Ranking
    from worker.pipeline.scoring_plan import ScoringPlan


def predictions(
    plan: ScoringPlan, threshold: float | None, ranking: Ranking, row: int
) -> list[dict[str, Any]]:
    """The predictions of a `clip_worker.contract.Classification`.

    Args:
        plan: The labels.
        threshold: Least score of a prediction; None for those of the plan.
        ranking: Of a group of images.
        row: The image's in it.
    """
    values, indices = ranking.probabilities[row], ranking.indices[row]
    found = _labelled(plan.labels, indices, values)
    if ranking.scores is not None:
        values = ranking.scores[row]
        for prediction, score in zip(found, values, strict=True):
            prediction["score"] = score
    if threshold is not None:
        return [each for each, value in zip(found, values, strict=True) if value >= threshold]
    if plan.thresholds is not None:
        limits = [plan.thresholds[index] for index in indices]
        return [
            each
            for each, value, limit in zip(found, values, limits, strict=True)
            if limit is None or value >= limit
        ]
    return found


def further_fields(plan: ScoringPlan, ranking: Ranking, row: int) -> dict[str, Any]:
    """The fields that a result has only where a request asks for them."""
    fields: dict[str, Any] = {}
    if ranking.none_of_these is not None:
        fields["none_of_these"] = ranking.none_of_these[row]
    if plan.label_set:
        fields["label_set"] = plan.label_set
    if ranking.levels is not None and plan.tree:
        fields["levels"] = [
            _labelled(names, level.indices, level.probabilities)
            for names, level in zip(plan.tree.levels, ranking.levels[row], strict=True)
        ]
    return fields


def _labelled(
    labels: Sequence[str], indices: Sequence[int], probabilities: Sequence[float]
) -> list[dict[str, Any]]:
    return [
        {"label": labels[index], "probability": probability, "index": index}
        for probability, index in zip(probabilities, indices, strict=True)
    ]
