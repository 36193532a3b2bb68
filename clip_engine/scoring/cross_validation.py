"""Measures a calibration on images that it was not fitted to.

Axes: N images, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clip_engine.scoring.calibration import NONE, Calibration, fit
from clip_engine.scoring.calibration_error import expected_calibration_error
from clip_engine.scoring.logits import Logits, Probabilities, probabilities
from clip_engine.scoring.options import Scoring

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Measures:
    """How right the first answers are: each image's best label, or "none of these".

    Attributes:
        calibration_error: Expected calibration error of their probabilities, in [0, 1].
        accuracy: Share of images whose first answer is right, in [0, 1].
        none_precision: Share of those with the answer "none of these" that no label fits; None if
            there are none with it.
        none_recall: Share of the images that no label fits that get that answer; None if there are
            no such images.
    """

    calibration_error: float
    accuracy: float
    none_precision: float | None
    none_recall: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What thresholds keep of the labels that have one.

    Attributes:
        precision: Share of what they keep that is right; None if they keep nothing.
        recall: Share of what is right that they keep; None if nothing is.
    """

    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Measures of the model as it is, and of calibrations that were fitted without each image."""

    before: Measures
    after: Measures
    thresholds: Kept


def cross_validate(
    found: Logits, right: Tensor, scoring: Scoring, folds: int = FOLDS, seed: int = 0
) -> CrossValidation:
    """Fit to all images but one part in turn, and measure on that part; each image counts once.

    Args:
        found: Logits of N images for `scoring`.
        right: int64 `[N]`, the index of each image's right label, or -1 if no label fits.
        scoring: What will be asked.
        folds: Number of parts, at most N; images are dealt out so that each part has its share of
            those without a label.
        seed: Of the order in which they are dealt out.
    """
    fold_of = _folds(right, folds, seed)
    before = probabilities(found, scoring)
    after = Probabilities(torch.empty_like(before.labels), _like(before.none))
    kept = torch.zeros_like(before.labels, dtype=torch.bool)
    judged = torch.zeros_like(kept)
    for fold in range(folds):
        mine = fold_of == fold
        calibration = fit(_rows(found, ~mine), right[~mine], scoring)
        chances = probabilities(_rows(found, mine), calibrated(scoring, calibration))
        after.labels[mine] = chances.labels
        if after.none is not None and chances.none is not None:
            after.none[mine] = chances.none
        least = torch.tensor([torch.nan if t is None else t for t in calibration.thresholds])
        kept[mine] = chances.labels >= least  # never, where there is no threshold
        judged[mine] = ~least.isnan()
    return CrossValidation(
        measures(before, right, scoring),
        measures(after, right, scoring),
        _kept(kept, judged, right),
    )


def calibrated(scoring: Scoring, calibration: Calibration) -> Scoring:
    """The scoring with a calibration's temperature and bias."""
    return Scoring(
        scoring.score, scoring.none_of_these, calibration.temperature, calibration.none_bias
    )


def measures(chances: Probabilities, right: Tensor, scoring: Scoring) -> Measures:
    """Measure probabilities.

    "None of these" is the first answer where its probability is larger than every label's, or for
    independent scores, larger than one half.
    """
    best, answers = chances.labels.max(dim=1)
    if chances.none is not None:
        bar = 0.5 if scoring.score == "sigmoid" else best
        none_first = chances.none > bar
        best = torch.where(none_first, chances.none, best)
        answers = torch.where(none_first, NONE, answers)
    is_right, is_none, said_none = answers == right, right == NONE, answers == NONE
    return Measures(
        expected_calibration_error(best, is_right),
        float(is_right.double().mean()),
        _share(is_none, said_none),
        _share(said_none, is_none),
    )


def _kept(kept: Tensor, judged: Tensor, right: Tensor) -> Kept:
    fits = torch.zeros_like(kept)
    has_label = right != NONE
    fits[has_label] = fits[has_label].scatter(1, right[has_label][:, None], value=True)
    return Kept(_share(fits, kept & judged), _share(kept, fits & judged))


def _share(what: Tensor, among: Tensor) -> float | None:
    return float(what[among].double().mean()) if among.any() else None


def _folds(right: Tensor, folds: int, seed: int) -> Tensor:
    """The part of each image, so that each label's images are spread over the parts."""
    order = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))
    order = order[right[order].argsort(stable=True)]
    fold_of = torch.empty_like(right)
    fold_of[order] = torch.arange(len(right)) % folds
    return fold_of


def _rows(found: Logits, rows: Tensor) -> Logits:
    return Logits(found.labels[rows], None if found.none is None else found.none[rows])


def _like(none: Tensor | None) -> Tensor | None:
    return None if none is None else torch.empty_like(none)
